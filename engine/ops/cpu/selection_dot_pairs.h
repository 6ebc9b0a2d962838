// Integer products with instructions that multiply pairs of 16-bit numbers, which never saturate:
// even and odd bytes of the digests apart. Part of selection_kernels_impl.h.
#pragma once

#include "engine/ops/cpu/selection_kernels.h"

namespace keyhole {
namespace {

// `Pairs` gives a vector of bytes B and its instructions.
template <class Pairs>
struct SelectionDotPairs {
  using B = typename Pairs::B;
  static constexpr int kBytes = static_cast<int>(sizeof(B));
  static constexpr int kVectors = 4 * kScoreBlock / kBytes;
  static constexpr int kWords = 2;

  template <int kCount, class I>
  static inline __attribute__((always_inline)) void Dot(const unsigned char* digests,
                                                        int n_quads,
                                                        const int32_t* codes,
                                                        const int32_t* start,
                                                        I (*sums)[kVectors]) {
    B totals[kCount][kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) totals[i][v] = Pairs::Set32(start[i]);
    }
    for (int quad = 0; quad < n_quads; ++quad) {
      const int32_t* query = codes + quad * kWords * kCount;
      B even[kVectors];
      B odd[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const B four = Pairs::Load(digests + 64 * quad + kBytes * v);
        even[v] = Pairs::EvenBytes(four);
        odd[v] = Pairs::OddBytes(four);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kCount; ++i) {
        const B of_even = Pairs::Set32(query[i]);
        const B of_odd = Pairs::Set32(query[kCount + i]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const B product =
              Pairs::Add32(Pairs::MulPairs(even[v], of_even), Pairs::MulPairs(odd[v], of_odd));
          totals[i][v] = Pairs::Add32(totals[i][v], product);
        }
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[i][v] = reinterpret_cast<I>(totals[i][v]);
    }
  }

  // Lower and upper halves of bytes times the words of each query: eight words of 2 * 15 * 127 fit
  // 16 bits.
  template <int kSets, int kCount, class I>
  static inline __attribute__((always_inline)) void NibbleDot(const unsigned char* lines,
                                                              const int32_t* codes,
                                                              I (*sums)[kVectors]) {
    const B ones = Pairs::Set32(0x10001);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      B totals[kCount];
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) totals[i] = Pairs::Set32(0);
#pragma GCC unroll 4
      for (int set = 0; set < kSets; ++set) {
        const B both = Pairs::Load(lines + 64 * set + kBytes * v);
        const B low = Pairs::LowNibbles(both);
        const B high = Pairs::HighNibbles(both);
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          const int32_t* words = codes + 2 * (i * kSets + set);
          totals[i] = Pairs::Add16(totals[i], Pairs::MulBytes(low, Pairs::Set32(words[0])));
          totals[i] = Pairs::Add16(totals[i], Pairs::MulBytes(high, Pairs::Set32(words[1])));
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) {
        const B wide = Pairs::MulPairs(totals[i], ones);
        __builtin_memcpy(&sums[i][v], &wide, sizeof(wide));
      }
    }
  }
};

}  // namespace
}  // namespace keyhole
