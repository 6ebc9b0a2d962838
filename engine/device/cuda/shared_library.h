// Functions of shared libraries that are loaded when they are first needed.
#pragma once

namespace keyhole {

// What is named to the linker instead takes its thread-local data from the stack of every thread:
// cuBLAS alone has more of it than the threads of the metrics endpoint have stack. Null where the
// library or the function is not there. Thread: any.
void* FindFunction(const char* library, const char* name);

// Calls the function `name` of `library`, of the type of kFunction; `missing` where it is not
// there.
template <auto kFunction, typename Result, typename... Args>
Result CallLoaded(const char* library, const char* name, Result missing, Args... args) {
  static const auto function = reinterpret_cast<decltype(kFunction)>(FindFunction(library, name));
  return function == nullptr ? missing : function(args...);
}

}  // namespace keyhole
