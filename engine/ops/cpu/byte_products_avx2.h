// Sums of products u8 * s8, two and two in 16 bits, with AVX2.
#pragma once

#include <immintrin.h>

namespace keyhole {
namespace {

struct TwoVectors {
  __m256i left;
  __m256i right;
};

// The order of the instructions matters, and compilers do not keep it: two products and two sums
// are handed to the units together, and sums leave the units of products free. Nor do compilers add
// products one by one: they make as many as there are first, and spill them.
inline __attribute__((always_inline)) void AddProducts(const TwoVectors& bytes,
                                                       __m256i x,
                                                       __m256i* sums) {
  __m256i left;
  __m256i right;
  asm("vpmaddubsw %[x], %[bytes], %[left]\n\t"
      "vpmaddubsw %[x], %[more], %[right]\n\t"
      "vpaddw %[left], %[sum], %[sum]\n\t"
      "vpaddw %[right], %[other], %[other]"
      : [left] "=&x"(left), [right] "=&x"(right), [sum] "+&x"(sums[0]), [other] "+&x"(sums[1])
      : [x] "x"(x), [bytes] "x"(bytes.left), [more] "x"(bytes.right));
}

}  // namespace
}  // namespace keyhole
