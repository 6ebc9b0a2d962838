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

  // The planes times the words of each query: two words of 2 * 15 * 127 and eight of 2 * 6 * 127
  // fit 16 bits.
  template <int kLines, int kCount, class I>
  static inline __attribute__((always_inline)) void CoarseDot(const unsigned char* lines,
                                                              const int32_t* codes,
                                                              I (*sums)[kVectors]) {
    constexpr int kPlanes = CoarsePlanes(kLines);
    const B ones = Pairs::Set32(0x10001);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      B totals[kCount];
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) totals[i] = Pairs::Set32(0);
#pragma GCC unroll 16
      for (int p = 0; p < kPlanes; ++p) {
        const CoarsePlane plane = CoarsePlaneAt(p);
        const B line = Pairs::Load(lines + 64 * plane.line + kBytes * v);
        const B values =
            Pairs::And8(plane.shift < 0 ? Pairs::Double16(line) : Pairs::Right16(line, plane.shift),
                        plane.mask);
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          const B query = Pairs::Set32(codes[i * kPlanes + p]);
          totals[i] = Pairs::Add16(totals[i], Pairs::MulBytes(values, query));
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
