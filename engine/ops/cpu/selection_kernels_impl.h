// Bodies of the selection kernels for any vector width. Included once by each file that names an
// instruction set: `Isa` gives the width, fused multiply-add, sums of rows, masks and `Dot`.
// Unnamed namespace, no library function: see attend_kernels_impl.h.
#pragma once

#include "engine/ops/cpu/score_kernels_impl.h"
#include "engine/ops/cpu/selection_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

template <class Isa>
struct DigestImpl {
  using M = VectorMath<Isa>;
  using V = typename M::V;
  using I = typename M::I;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int kQuadBytes = 64;

  static V LoadPart(const float* p, int n) {
    float part[kWidth] = {};
    for (int i = 0; i < n; ++i) part[i] = p[i];
    return M::Load(part);
  }

  // Rows [r, r + kWidth) of the map; rows behind the last repeat it.
  static V Product(const DigestTask& t, int r) {
    const float* rows[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      rows[i] = t.map + static_cast<ptrdiff_t>(r + i < t.rank ? r + i : t.rank - 1) * t.in_dim;
    }
    V sums[kWidth] = {};
    int c = 0;
    for (; c + kWidth <= t.in_dim; c += kWidth) {
      const V key = M::Load(t.key + c);
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) sums[i] = Isa::MulAdd(M::Load(rows[i] + c), key, sums[i]);
    }
    if (c < t.in_dim) {
      const V key = LoadPart(t.key + c, t.in_dim - c);
      for (int i = 0; i < kWidth; ++i) {
        sums[i] = Isa::MulAdd(LoadPart(rows[i] + c, t.in_dim - c), key, sums[i]);
      }
    }
    return Isa::SumRows(sums);
  }

  static void Run(const DigestTask& t) {
    for (int r = 0; r < t.rank; r += kWidth) {
      const V low = M::Max(Product(t, r), M::Set(-127));
      const V clamped = low < M::Set(127) ? low : M::Set(127);
      const I codes =
          reinterpret_cast<I>(clamped + M::Set(kRound)) - reinterpret_cast<I>(M::Set(kRound)) + 128;
      int32_t lanes[kWidth];
      __builtin_memcpy(lanes, &codes, sizeof(lanes));
      for (int i = 0; i < kWidth && r + i < t.rank; i += 4) {
        const int32_t word = lanes[i] | lanes[i + 1] << 8 | lanes[i + 2] << 16 |
                             static_cast<int32_t>(static_cast<uint32_t>(lanes[i + 3]) << 24);
        __builtin_memcpy(t.out + (r + i) / 4 * kQuadBytes, &word, sizeof(word));
      }
    }
  }
};

template <class Isa>
struct MaximaImpl {
  using M = VectorMath<Isa>;
  using V = typename M::V;
  using I = typename M::I;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int kStep = 4 * kWidth;

  static void MaxOf(const float* a, const float* b, int64_t n, float* out) {
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth)
      M::Store(out + i, Isa::Larger(M::Load(a + i), M::Load(b + i)));
    for (; i < n; ++i) out[i] = a[i] > b[i] ? a[i] : b[i];
  }

  static int64_t CountFrom(const float* x, int64_t n, float bound) {
    I counts[4] = {};  // of less than 2^31 values
    int64_t i = 0;
    for (; i + kStep <= n; i += kStep) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) counts[v] -= M::Load(x + i + v * kWidth) >= M::Set(bound);
    }
    const I sums = (counts[0] + counts[1]) + (counts[2] + counts[3]);
    int64_t count = 0;
    for (int lane = 0; lane < kWidth; ++lane) count += sums[lane];
    for (; i < n; ++i) count += x[i] >= bound;
    return count;
  }

  static int64_t RowsFrom(const float* x, int64_t n, float bound, int32_t first, int32_t* rows) {
    int32_t* at = rows;
    int64_t i = 0;
    for (; i + kStep <= n; i += kStep) {
      uint64_t hits = 0;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const I mask = M::Load(x + i + v * kWidth) >= M::Set(bound);
        hits |= static_cast<uint64_t>(Isa::MaskBits(mask)) << (v * kWidth);
      }
      for (; hits != 0; hits &= hits - 1) {
        *at++ = first + static_cast<int32_t>(i) + __builtin_ctzll(hits);
      }
    }
    for (; i < n; ++i) {
      if (x[i] >= bound) *at++ = first + static_cast<int32_t>(i);
    }
    return at - rows;
  }
};

template <class Isa>
SelectionKernels MakeSelectionKernels() {
  return {.digest = DigestImpl<Isa>::Run,
          .score = ScoreImpl<Isa>::Set(),
          .max_of = MaximaImpl<Isa>::MaxOf,
          .count_from = MaximaImpl<Isa>::CountFrom,
          .rows_from = MaximaImpl<Isa>::RowsFrom};
}

}  // namespace
}  // namespace keyhole
