// How the kernels of Linear take their inputs, for any vector width: see linear_kernels_impl.h.
#pragma once

#include "engine/ops/cpu/linear_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

template <class Isa>
struct LinearInputsImpl {
  using M = VectorMath<Isa>;
  using V = typename M::V;
  using I = typename M::I;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int kVectors = kBlock / kWidth;

  static void Pack(const PackRows& rows) {
    for (int r = 0; r < rows.n_rows; ++r) {
      const float* x = rows.x + r * rows.n_in;
      float* packed = rows.packed + r;
      for (int64_t k = 0; k < rows.n_in; ++k) packed[k * rows.n_rows] = x[k];
    }
  }

  // All lanes joined into one, in halves: narrow vectors cost less.
  template <int kLanes, class Join>
  static inline __attribute__((always_inline)) int32_t Fold(typename VectorTypes<kLanes>::I v,
                                                            Join join) {
    if constexpr (kLanes == 16) {
      return Fold<8>(join(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                          __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)),
                     join);
    } else if constexpr (kLanes == 8) {
      return Fold<4>(join(__builtin_shufflevector(v, v, 0, 1, 2, 3),
                          __builtin_shufflevector(v, v, 4, 5, 6, 7)),
                     join);
    } else {
      v = join(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
      return join(v, __builtin_shufflevector(v, v, 1, 0, 3, 2))[0];
    }
  }

  // The largest magnitude. Compared as integers, where infinities and NaN come last.
  static inline __attribute__((always_inline)) float Largest(const V* x) {
    I largest = reinterpret_cast<I>(x[0]) & 0x7FFFFFFF;
#pragma GCC unroll 8
    for (int v = 1; v < kVectors; ++v) {
      const I magnitude = reinterpret_cast<I>(x[v]) & 0x7FFFFFFF;
      largest = largest > magnitude ? largest : magnitude;
    }
    const int32_t bits = Fold<kWidth>(largest, [](auto a, auto b) { return a > b ? a : b; });
    float result;
    __builtin_memcpy(&result, &bits, sizeof(result));
    return result;
  }

  // Codes are the nearest integers of x / scale, ties to even. Anything for infinities and NaN:
  // those reach the output through the scale.
  static inline __attribute__((always_inline)) void QuantizeBlock(const float* from,
                                                                  const PackRows& rows,
                                                                  int64_t block,
                                                                  int r) {
    constexpr float kLeast = 1e-30F;  // below, the inverse could overflow
    V x[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) x[v] = M::Load(from + v * kWidth);
    const float largest = Largest(x);
    const bool zero = largest < kLeast;
    const float scale = zero ? 0 : largest / 127;
    const float inverse = zero ? 0 : 127 / largest;
    const int64_t at = block * rows.n_rows + r;
    auto* codes = reinterpret_cast<signed char*>(rows.codes + at * kBlockWords);
    I sums = {};
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const V shifted = x[v] * M::Set(inverse) + M::Set(kRound);
      const I q = reinterpret_cast<I>(shifted) - reinterpret_cast<I>(M::Set(kRound));
      Isa::StoreBytes(q, codes + v * kWidth);
      sums += q;
    }
    const int32_t sum = Fold<kWidth>(sums, [](auto a, auto b) { return a + b; });
    rows.start[at] =
        static_cast<int32_t>(-static_cast<uint32_t>(rows.zero) * static_cast<uint32_t>(sum));
    float* scales = rows.scales + 2 * block * rows.n_rows + r;
    scales[0] = scale;
    scales[rows.n_rows] = scale * static_cast<float>(sum);
  }

  static void Quantize(const PackRows& rows) {
    const int64_t n_whole = rows.n_in / kBlock;
    const int64_t left = rows.n_in - n_whole * kBlock;
    for (int r = 0; r < rows.n_rows; ++r) {
      const float* x = rows.x + r * rows.n_in;
      for (int64_t b = 0; b < n_whole; ++b) QuantizeBlock(x + b * kBlock, rows, b, r);
      if (left == 0) continue;
      float last[kBlock] = {};
      for (int64_t i = 0; i < left; ++i) last[i] = x[n_whole * kBlock + i];
      QuantizeBlock(last, rows, n_whole, r);
    }
  }
};

}  // namespace
}  // namespace keyhole
