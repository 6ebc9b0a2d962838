// Selection kernels for any processor: vectors of four.
#include "engine/ops/cpu/selection_kernels_impl.h"

namespace keyhole {
namespace {

struct Portable {
  static constexpr int kWidth = 4;
  static constexpr int kMaxQueries = 4;
  static constexpr int kWords = 1;
  using V = VectorTypes<kWidth>::V;
  using I = VectorTypes<kWidth>::I;

  static inline V MulAdd(V a, V b, V c) { return a * b + c; }
  static inline V Larger(V a, V b) { return a > b ? a : b; }
  static inline float SumOf(V v) { return (v[0] + v[2]) + (v[1] + v[3]); }
  // Lane r: the sum of rows[r].
  static inline V SumRows(const V* rows) {
    return V{SumOf(rows[0]), SumOf(rows[1]), SumOf(rows[2]), SumOf(rows[3])};
  }
  static inline I LargestOfRows(const I* rows) {
    I largest;
    for (int r = 0; r < kWidth; ++r) {
      int32_t top = rows[r][0];
      for (int i = 1; i < kWidth; ++i) top = rows[r][i] > top ? rows[r][i] : top;
      largest[r] = top;
    }
    return largest;
  }
  static inline unsigned MaskBits(I mask) {
    return (mask[0] & 1) | (mask[1] & 2) | (mask[2] & 4) | (mask[3] & 8);
  }

  template <int kCount>
  static inline void Dot(const unsigned char* digests,
                         int n_quads,
                         const int32_t* codes,
                         const int32_t* start,
                         I (*sums)[kScoreBlock / kWidth]) {
    for (int i = 0; i < kCount; ++i) {
      int32_t totals[kScoreBlock];
      for (int32_t& total : totals) total = start[i];
      for (int quad = 0; quad < n_quads; ++quad) {
        signed char query[4];
        __builtin_memcpy(query, codes + quad * kCount + i, sizeof(query));
        const unsigned char* from = digests + 64 * quad;
        for (int token = 0; token < kScoreBlock; ++token) {
          for (int c = 0; c < 4; ++c) totals[token] += query[c] * from[4 * token + c];
        }
      }
      __builtin_memcpy(sums[i], totals, sizeof(totals));
    }
  }

  template <int kLines, int kCount>
  static inline void CoarseDot(const unsigned char* lines,
                               const int32_t* codes,
                               I (*sums)[kScoreBlock / kWidth]) {
    for (int q = 0; q < kCount; ++q) {
      int32_t totals[kScoreBlock] = {};
      for (int p = 0; p < CoarsePlanes(kLines); ++p) {
        const CoarsePlane plane = CoarsePlaneAt(p);
        signed char query[4];
        __builtin_memcpy(query, codes + q * CoarsePlanes(kLines) + p, sizeof(query));
        for (int i = 0; i < 4 * kScoreBlock; ++i) {
          const int byte = 2 * lines[64 * plane.line + i];
          totals[i / 4] += query[i % 4] * (byte >> (plane.shift + 1) & plane.mask);
        }
      }
      __builtin_memcpy(sums[q], totals, sizeof(totals));
    }
  }
};

}  // namespace

SelectionKernels SelectionKernelsPortable() { return MakeSelectionKernels<Portable>(); }

}  // namespace keyhole
