// Keeps a vector in its register.
#pragma once

namespace keyhole {
namespace {

// The compiler would read it from memory at each use, or copy sums from one register to another.
template <class V>
inline __attribute__((always_inline)) void Pin(V& v) {
  asm("" : "+v"(v));
}

}  // namespace
}  // namespace keyhole
