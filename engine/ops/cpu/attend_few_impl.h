// One query: dot products along head_dim, all query heads of a KV head together.
// Part of attend_kernels_impl.h: no library function is called.
#pragma once

#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

constexpr int kLaneBlock = 4;

template <class Isa>
struct AttendFew {
  using M = VectorMath<Isa>;
  using V = typename Isa::V;
  static constexpr int kWidth = Isa::kWidth;

  // sums[l * kWidth + r] = partial dot products, one vector each, of kLanes queries and 4 rows.
  template <int kLanes, class Element>
  static inline __attribute__((always_inline)) void DotBlock(
      const float* queries, int query_stride, const unsigned char* const* keys, int dim, V* sums) {
    V acc[kLanes][4];
    for (auto& lane : acc) {
      for (V& v : lane) v = M::Set(0);
    }
    const Element* key[4];
    for (int r = 0; r < 4; ++r) key[r] = reinterpret_cast<const Element*>(keys[r]);
    for (int c = 0; c < dim; c += kWidth) {
      V q[kLanes];
      for (int l = 0; l < kLanes; ++l) q[l] = M::Load(queries + l * query_stride + c);
      for (int r = 0; r < 4; ++r) {
        const V k = M::Load(key[r] + c);
        for (int l = 0; l < kLanes; ++l) acc[l][r] = Isa::MulAdd(q[l], k, acc[l][r]);
      }
    }
    for (int l = 0; l < kLanes; ++l) {
      for (int r = 0; r < 4; ++r) sums[l * kWidth + r] = acc[l][r];
    }
  }

  // One head of a row that is read next.
  static inline __attribute__((always_inline)) void Prefetch(const unsigned char* head, int bytes) {
    for (int b = 0; b < bytes; b += 64) __builtin_prefetch(head + b, 0, 2);
  }

  // Rows of one head, where they are read.
  struct Rows {
    const unsigned char* const* at;
    const float* scales;  // [kAttendTileRows], of elements that have one
    int dim;
  };

  // scores[l][j] of kLanes lanes from `first`.
  template <int kLanes, class Element>
  static void ScoreFew(const AttendTile& t, const Rows& keys, int first) {
    const float* queries = t.queries + static_cast<ptrdiff_t>(first) * t.padded_dim;
    for (int j = 0; j < t.n_rows; j += kWidth) {
      V sums[kLanes][kWidth];
      const unsigned char* at[kWidth];
      for (int r = 0; r < kWidth; ++r) at[r] = keys.at[j + r < t.n_rows ? j + r : t.n_rows - 1];
      for (int r = j; first == 0 && r < j + kWidth && r < t.n_next; ++r) {
        Prefetch(t.next_keys[r] + t.head_offset, t.head_bytes);
      }
      for (int r = 0; r < kWidth; r += 4) {
        DotBlock<kLanes, Element>(queries, t.padded_dim, at + r, keys.dim, &sums[0][r]);
      }
      for (int l = 0; l < kLanes; ++l) {
        V score = Isa::SumRows(sums[l]);
        if constexpr (kHasScale<Element>) score *= M::Load(keys.scales + j);
        M::Store(t.scores + (first + l) * kAttendTileRows + j, score + M::Set(t.bias[first + l]));
      }
    }
  }

  // Turns the scores of one lane into weights; returns the factor for what was summed before.
  static float SoftmaxLane(const AttendTile& t, const AttendState& s, int lane) {
    float* scores = t.scores + lane * kAttendTileRows;
    for (int j = t.n_rows; j % kWidth != 0; ++j) scores[j] = -__builtin_inff();
    V top = M::Load(scores);
    for (int j = kWidth; j < t.n_rows; j += kWidth) top = M::Max(top, M::Load(scores + j));
    const float tile_max = Isa::MaxOf(top);
    const float old_max = s.max[lane];
    const float new_max = tile_max > old_max ? tile_max : old_max;
    const float shift = new_max == -__builtin_inff() ? 0 : new_max;
    V sum = M::Set(0);
    for (int j = 0; j < t.n_rows; j += kWidth) {
      const V weight = M::Exp2(M::Load(scores + j) - M::Set(shift));
      M::Store(scores + j, weight);
      sum += weight;
    }
    const float correction = M::First(M::Exp2(M::Set(old_max - shift)));
    s.max[lane] = new_max;
    s.sum[lane] = s.sum[lane] * correction + Isa::SumOf(sum);
    return correction;
  }

  // acc[l][c ...] = acc * correction + weights . values, kVectors vectors of kLanes lanes.
  template <int kLanes, int kVectors, class Element>
  static inline __attribute__((always_inline)) void WeighFew(const AttendTile& t,
                                                             const AttendState& s,
                                                             const unsigned char* const* values,
                                                             int first,
                                                             int c) {
    float* out = s.acc + static_cast<ptrdiff_t>(first) * t.padded_dim + c;
    const float* weights = t.scores + first * kAttendTileRows;
    V acc[kLanes][kVectors];
    for (int l = 0; l < kLanes; ++l) {
      const V factor = M::Set(t.correction[first + l]);
      for (int v = 0; v < kVectors; ++v) {
        acc[l][v] = M::Load(out + l * t.padded_dim + v * kWidth) * factor;
      }
    }
    for (int j = 0; j < t.n_rows; ++j) {
      const Element* row = reinterpret_cast<const Element*>(values[j]) + c;
      if (first == 0 && c == 0 && j < t.n_next) {
        Prefetch(t.next_values[j] + t.head_offset, t.head_bytes);
      }
      V weight[kLanes];
      for (int l = 0; l < kLanes; ++l) weight[l] = M::Set(weights[l * kAttendTileRows + j]);
      for (int v = 0; v < kVectors; ++v) {
        const V value = M::Load(row + v * kWidth);
        for (int l = 0; l < kLanes; ++l) acc[l][v] = Isa::MulAdd(weight[l], value, acc[l][v]);
      }
    }
    for (int l = 0; l < kLanes; ++l) {
      for (int v = 0; v < kVectors; ++v) {
        M::Store(out + l * t.padded_dim + v * kWidth, acc[l][v]);
      }
    }
  }

  // kLanes lanes from `first` against one pass's rows: keys make weights, then values are weighed.
  template <int kLanes, class Element, bool kKeys>
  static void FewBlock(const AttendTile& t, const AttendState& s, const Rows& rows, int first) {
    if constexpr (kKeys) {
      ScoreFew<kLanes, Element>(t, rows, first);
      for (int l = first; l < first + kLanes; ++l) t.correction[l] = SoftmaxLane(t, s, l);
    } else {
      // Twelve sums leave room for the weights of three lanes and a value in 16 registers.
      constexpr int kVectors = kLanes < kLaneBlock ? 4 : Isa::kFewVectors;
      constexpr int kStep = kVectors * kWidth;
      int c = 0;
      for (; c + kStep <= rows.dim; c += kStep) {
        WeighFew<kLanes, kVectors, Element>(t, s, rows.at, first, c);
      }
      for (; c < rows.dim; c += kWidth) WeighFew<kLanes, 1, Element>(t, s, rows.at, first, c);
    }
  }

  template <class Element, bool kKeys>
  static void FewLanes(const AttendTile& t, const AttendState& s, const Rows& rows) {
    int lane = 0;
    for (; lane + kLaneBlock <= t.lanes; lane += kLaneBlock) {
      FewBlock<kLaneBlock, Element, kKeys>(t, s, rows, lane);
    }
    switch (t.lanes - lane) {
      case 3:
        return FewBlock<3, Element, kKeys>(t, s, rows, lane);
      case 2:
        return FewBlock<2, Element, kKeys>(t, s, rows, lane);
      case 1:
        return FewBlock<1, Element, kKeys>(t, s, rows, lane);
      default:
        return;
    }
  }

  // Scores are multiplied by the scales of keys, weights by those of values.
  template <class Element, bool kKeys>
  static void ScalePass(const AttendTile& t, const unsigned char* const* at, float* scales) {
    for (int j = 0; j < kAttendTileRows; ++j) {
      scales[j] = j < t.n_rows ? ScaleOf(reinterpret_cast<const Element*>(at[j]), t.head_dim) : 0;
    }
    if constexpr (kKeys) return;
    for (int l = 0; l < t.lanes; ++l) {
      float* weights = t.scores + l * kAttendTileRows;
      for (int j = 0; j < t.n_rows; j += kWidth) {
        M::Store(weights + j, M::Load(weights + j) * M::Load(scales + j));
      }
    }
  }

  // Reads rows in place where their length is a whole number of vectors.
  template <class Element, bool kKeys>
  static void FewPass(const AttendTile& t, const AttendState& s) {
    const unsigned char* const* from = kKeys ? t.keys : t.values;
    const unsigned char* at[kAttendTileRows];
    if (t.head_dim % kWidth == 0) {
      float scales[kAttendTileRows];
      for (int j = 0; j < t.n_rows; ++j) at[j] = from[j] + t.head_offset;
      if constexpr (kHasScale<Element>) ScalePass<Element, kKeys>(t, at, scales);
      FewLanes<Element, kKeys>(t, s, {at, scales, t.head_dim});
      return;
    }
    AttendWiden<Isa>::template Widen<Element>(t, from, t.n_rows);
    for (int j = 0; j < t.n_rows; ++j) {
      at[j] = reinterpret_cast<const unsigned char*>(t.rows + j * t.padded_dim);
    }
    FewLanes<float, kKeys>(t, s, {at, nullptr, t.padded_dim});
  }

  template <class Element>
  static void Run(const AttendTile& t, const AttendState& s) {
    FewPass<Element, true>(t, s);
    FewPass<Element, false>(t, s);
  }
};

}  // namespace
}  // namespace keyhole
