// Many queries against rows of bf16 or int8: 32 lanes at a time go through scores by int8 products,
// softmax, and sums of values by products of bf16 pairs, while their scores are in the nearest
// cache. Part of attend_avx512bf16.cc.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/attend_int8_scores.h"
#include "engine/ops/cpu/attend_isa_avx512.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_packed_rows.h"
#include "engine/ops/cpu/attend_row_groups.h"
#include "engine/ops/cpu/attend_softmax_lanes.h"
#include "engine/ops/cpu/bf16_math.h"
#include "engine/ops/cpu/transpose_avx512.h"

namespace keyhole {
namespace {

constexpr int kBlockVectors = 2;
constexpr int kBlockLanes = kBlockVectors * kVectorLanes;
constexpr int kGroupPairs = kRowGroup / 2;
static_assert(kBlockLanes <= kLeastScoreLanes && kManyRows + kMostMeans <= kAttendMostRows);

// n vectors of lanes of a tile, from `lane` on.
template <int n>
class LaneBlock {
  static_assert(n <= kBlockVectors);

 public:
  LaneBlock(const AttendTile& tile, const AttendState& state, const PackedRows& rows, int lane)
      : t_(tile), s_(state), rows_(rows), lane_(lane) {}

  void Run() {
    Score();
    const RowGroups groups = choice_.Choose(s_, lane_, t_.scores, kBlockLanes);
    __m512 correction[n];
    for (int v = 0; v < n; ++v) correction[v] = Weigh(groups, v);
    for (int c = 0; c < t_.padded_dim; c += kDims) AddValues(groups, correction, c);
  }

 private:
  static constexpr int kDims = 8;  // that sums are made of at a time

  float* ScoresOf(int row, int v) const {
    return t_.scores + static_cast<ptrdiff_t>(row) * kBlockLanes + v * kVectorLanes;
  }

  void Score() {
    const QueryVector queries[] = {
        {t_.queries, t_.head_dim, lane_},
        {t_.queries, t_.head_dim, lane_ + (n - 1) * kVectorLanes},
    };
    choice_.n_groups = rows_.rows.n_groups;
    choice_.may_leave = rows_.finite && t_.visible == nullptr;
    for (int v = 0; v < n; ++v) {
      choice_.scale[v] = _mm512_loadu_ps(queries[v].scales);
      choice_.bias[v] = _mm512_loadu_ps(t_.bias + lane_ + v * kVectorLanes);
    }
    for (int g = 0; g < choice_.n_groups; ++g) {
      __m512 tops[n];
      for (__m512& top : tops) top = _mm512_set1_ps(-__builtin_inff());
      for (int j = g * kRowGroup; j < (g + 1) * kRowGroup; j += 4) {
        ScoreBlock<n>(queries,
                      rows_.keys + static_cast<ptrdiff_t>(j) * rows_.key_bytes,
                      rows_.key_bytes,
                      rows_.key_scales + j,
                      ScoresOf(j, 0),
                      kBlockLanes,
                      tops);
      }
      for (int v = 0; v < n; ++v) choice_.tops[v][g] = tops[v];
    }
    choice_.MaskScores(t_, lane_, t_.scores, kBlockLanes);
  }

  // Scores of some groups become pairs of weights, the groups side by side; the running softmax
  // advances. Returns what earlier sums of values are multiplied by.
  __m512 Weigh(const RowGroups& groups, int v) const {
    __m512 top = _mm512_set1_ps(-__builtin_inff());
    for (int k = 0; k < groups.n; ++k) top = _mm512_max_ps(top, choice_.tops[v][groups.at[k]]);
    const __m512 scale = choice_.scale[v];
    const int lane = lane_ + v * kVectorLanes;
    const LaneShift shift(top, scale, choice_.bias[v], s_.max + lane);
    const __m512i interleave = Interleave();
    __m512 sum = _mm512_setzero_ps();
    float* out = ScoresOf(0, v);
    for (int k = 0; k < groups.n; ++k) {
      const float* in = ScoresOf(groups.first_row(k), v);
#pragma GCC unroll 4
      for (int i = 0; i < kGroupPairs; ++i, in += 2 * kBlockLanes, out += kBlockLanes) {
        const __m512 low = _mm512_loadu_ps(in);
        const __m512 high = _mm512_loadu_ps(in + kBlockLanes);
        const __m512 w_low = PowerOfTwo(_mm512_fmadd_ps(low, scale, shift.offset));
        const __m512 w_high = PowerOfTwo(_mm512_fmadd_ps(high, scale, shift.offset));
        sum = _mm512_add_ps(sum, _mm512_add_ps(w_low, w_high));
        _mm512_storeu_si512(out, RoundToPairs(w_low, w_high, interleave));
      }
    }
    shift.AddTo(s_.sum + lane, sum);
    return shift.correction;
  }

  // acc = acc * correction + values . weights, of kDims dimensions from c on. `acc` is
  // [lanes / 16][padded_dim][16] until no tile is left.
  void AddValues(const RowGroups& groups, const __m512 (&correction)[n], int c) const {
    const ptrdiff_t vector_sums = static_cast<ptrdiff_t>(t_.padded_dim) * kVectorLanes;
    float* const out = s_.acc + lane_ / kVectorLanes * vector_sums + c * kVectorLanes;
    __m512 acc[kDims][n];
    // Unrolled by name, or the sums go through memory.
#pragma GCC unroll 8
    for (int i = 0; i < kDims; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < n; ++v) {
        acc[i][v] =
            _mm512_mul_ps(_mm512_loadu_ps(out + v * vector_sums + i * kVectorLanes), correction[v]);
      }
    }
    const float* weights = t_.scores;
    for (int k = 0; k < groups.n; ++k) {
      const float* values =
          rows_.values + static_cast<ptrdiff_t>(groups.at[k]) * kGroupPairs * t_.padded_dim + c;
      for (int p = 0; p < kGroupPairs; ++p, values += t_.padded_dim, weights += kBlockLanes) {
        __m512i w[n];
#pragma GCC unroll 2
        for (int v = 0; v < n; ++v) w[v] = _mm512_loadu_si512(weights + v * kVectorLanes);
#pragma GCC unroll 8
        for (int i = 0; i < kDims; ++i) {
          int32_t pair;
          __builtin_memcpy(&pair, values + i, sizeof(pair));
          const __m512i value = _mm512_set1_epi32(pair);
#pragma GCC unroll 2
          for (int v = 0; v < n; ++v) {
            acc[i][v] = _mm512_dpbf16_ps(acc[i][v], (__m512bh)value, (__m512bh)w[v]);
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kDims; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < n; ++v) {
        _mm512_storeu_ps(out + v * vector_sums + i * kVectorLanes, acc[i][v]);
      }
    }
  }

  const AttendTile& t_;
  const AttendState& s_;
  const PackedRows& rows_;
  const int lane_;
  GroupChoice<Avx512, n> choice_;
};

template <class Element>
void RunMany(const AttendTile& t, const AttendState& s) {
  PackedRows rows(t.n_rows);
  PackRows<Element>(t, rows);
  for (int lane = 0; lane < t.padded_lanes; lane += kBlockLanes) {
    // Rows that are read next, some for each block.
    const int end = lane + kBlockLanes < t.padded_lanes ? lane + kBlockLanes : t.padded_lanes;
    for (int j = t.n_next * lane / t.padded_lanes; j < t.n_next * end / t.padded_lanes; ++j) {
      AttendFew<Avx512>::Prefetch(t.next_keys[j] + t.head_offset, t.head_bytes);
      AttendFew<Avx512>::Prefetch(t.next_values[j] + t.head_offset, t.head_bytes);
    }
    if (end - lane == kBlockLanes) {
      LaneBlock<kBlockVectors>(t, s, rows, lane).Run();
    } else {
      LaneBlock<1>(t, s, rows, lane).Run();
    }
  }
}

void UnpackSums(float* acc, float* scratch, int padded_dim, int padded_lanes) {
  const ptrdiff_t size = static_cast<ptrdiff_t>(padded_dim) * kVectorLanes;
  __builtin_memcpy(scratch, acc, padded_lanes / kVectorLanes * size * sizeof(float));
  for (int lane = 0; lane < padded_lanes; lane += kVectorLanes, scratch += size, acc += size) {
    Transpose(scratch, padded_dim, kVectorLanes, acc);
  }
}

}  // namespace
}  // namespace keyhole
