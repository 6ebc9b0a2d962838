#include "engine/device/cuda/shared_library.h"

#include <dlfcn.h>

namespace keyhole {

void* FindFunction(const char* library, const char* name) {
  // Never closed: what is open already is not opened again.
  void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  return handle == nullptr ? nullptr : dlsym(handle, name);
}

std::string LoadProblem(const char* library, const char* name) {
  if (FindFunction(library, name) != nullptr) return {};
  const char* const problem = dlerror();
  return problem == nullptr ? "it is null there" : problem;
}

}  // namespace keyhole
