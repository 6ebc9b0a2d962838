// Functions of shared libraries that are loaded when they are first needed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

namespace keyhole {

// What is named to the linker instead takes its thread-local data from the stack of every thread:
// cuBLAS alone has more of it than the threads of the metrics endpoint have stack. Null where the
// library or the function is not there. Thread: any.
void* FindFunction(const char* library, const char* name);

// Why it is not there, in the loader's words; empty where it is. Thread: any.
std::string LoadProblem(const char* library, const char* name);

template <std::size_t kSize>
struct FunctionName {
  constexpr FunctionName(const char (&name)[kSize]) {  // NOLINT(google-explicit-constructor)
    std::copy_n(name, kSize, text);
  }
  char text[kSize];
};

// Calls a function of `library` that takes just these types; `missing` where it is not there.
template <FunctionName kName, typename Result, typename... Args>
Result CallLoaded(const char* library, Result missing, Args... args) {
  static const auto function =
      reinterpret_cast<Result (*)(Args...)>(FindFunction(library, kName.text));
  return function == nullptr ? missing : function(args...);
}

}  // namespace keyhole
