// Attention kernels for AVX2 and FMA: vectors of eight. Many queries have scores and sums of values
// by products of integers, but for rows in f32.
#include <immintrin.h>

#include "engine/ops/cpu/attend_int8_scores_avx2.h"
#include "engine/ops/cpu/attend_int8_values_avx2.h"
#include "engine/ops/cpu/attend_isa_avx2.h"
#include "engine/ops/cpu/attend_kernels_impl.h"
#include "engine/ops/cpu/attend_many_avx2.h"
#include "engine/ops/cpu/attend_row_groups.h"
#include "engine/ops/cpu/attend_softmax_avx2.h"

namespace keyhole {
namespace {

// A tile's rows while they are multiplied.
struct RowCodes {
  explicit RowCodes(int n_rows) : rows(n_rows) {}

  const TileRows rows;
  const unsigned char* keys = nullptr;  // [rows.n][head_dim]
  const int32_t* values = nullptr;      // [head_dim / 4][rows.with_means() / 4][4]
  float key_scales[kManyRows];
  float value_scales[kManyRows + kMostMeans];
  bool finite = true;
};

// The mean of a group's values of one head, to `out` [head_dim].
template <class Element>
void MeanOfValues(const AttendTile& t, int group, float* out) {
  using M = VectorMath<Avx2>;
  const int first = group * kRowGroup;
  const int n = t.n_rows - first < kRowGroup ? t.n_rows - first : kRowGroup;
  const Element* heads[kRowGroup];
  __m256 parts[kRowGroup];
  for (int r = 0; r < n; ++r) {
    heads[r] = reinterpret_cast<const Element*>(t.values[first + r] + t.head_offset);
    parts[r] = _mm256_set1_ps(ScaleOf(heads[r], t.head_dim) / static_cast<float>(n));
  }
  for (int c = 0; c < t.head_dim; c += 8) {
    __m256 sum = _mm256_setzero_ps();
    for (int r = 0; r < n; ++r) sum = _mm256_fmadd_ps(M::Load(heads[r] + c), parts[r], sum);
    M::Store(out + c, sum);
  }
}

template <class Element>
void PackRows(const AttendTile& t, RowCodes& codes) {
  const TileRows& rows = codes.rows;
  auto* keys = reinterpret_cast<unsigned char*>(t.rows);
  codes.keys = keys;
  for (int j = 0; j < rows.n; ++j, keys += t.head_dim) {
    codes.key_scales[j] = KeyCodes(HeadOf<Element>(t, t.keys, j), t.head_dim, keys);
  }
  auto* values = reinterpret_cast<int32_t*>(keys);
  codes.values = values;
  for (int j = 0; j < rows.n; j += 4) {
    const Element* heads[4];
    for (int r = 0; r < 4; ++r) heads[r] = HeadOf<Element>(t, t.values, j + r);
    ValueCodes(heads, t.head_dim, rows.with_means(), codes.value_scales + j, values + j);
  }
  for (int g = 0; g < rows.n_means; g += 4) {
    const float* means[4];
    for (int i = 0; i < 4; ++i) {
      float* mean = t.scores + static_cast<ptrdiff_t>(i) * t.head_dim;
      MeanOfValues<Element>(t, g + i < rows.n_groups ? g + i : rows.n_groups - 1, mean);
      means[i] = mean;
    }
    const int j = rows.n + g;
    ValueCodes(means, t.head_dim, rows.with_means(), codes.value_scales + j, values + j);
  }
  for (int j = 0; j < rows.n; ++j) {
    if (!(codes.key_scales[j] < __builtin_inff())) {  // its values show it, whatever it weighs
      codes.key_scales[j] = 0;
      codes.value_scales[j] = __builtin_inff();
    }
    codes.finite = codes.finite && codes.value_scales[j] < __builtin_inff();
  }
}

using BlockChoice = GroupChoice<Avx2, kBlockVectors>;

void ScoreRows(
    const AttendTile& t, const RowCodes& rows, int block, float* scores, BlockChoice& choice) {
  const QueryBlock queries(t.queries, t.head_dim, block);
  choice.n_groups = rows.rows.n_groups;
  choice.may_leave = rows.finite && t.visible == nullptr;
  for (int v = 0; v < kBlockVectors; ++v) {
    const ptrdiff_t in_block = v * ptrdiff_t{kVectorLanes};
    choice.scale[v] = _mm256_loadu_ps(queries.scales + in_block);
    choice.bias[v] =
        _mm256_loadu_ps(t.bias + static_cast<ptrdiff_t>(block) * kBlockLanes + in_block);
  }
  for (int g = 0; g < choice.n_groups; ++g) {
    __m256 tops[kBlockVectors];
    for (__m256& top : tops) top = _mm256_set1_ps(-__builtin_inff());
    for (int j = g * kRowGroup; j < (g + 1) * kRowGroup; j += 4) {
      ScoreBlock(queries,
                 rows.keys + static_cast<ptrdiff_t>(j) * t.head_dim,
                 rows.key_scales + j,
                 scores + static_cast<ptrdiff_t>(j) * kBlockLanes,
                 tops);
    }
    for (int v = 0; v < kBlockVectors; ++v) choice.tops[v][g] = tops[v];
  }
  choice.MaskScores(t, block * kBlockLanes, scores, kBlockLanes);
}

// `acc` is [lanes / 16][padded_dim][16] until no tile is left.
void RunBlock(const AttendTile& t, const AttendState& s, const RowCodes& rows, int block) {
  float* const scores = t.scores;
  BlockChoice choice;
  ScoreRows(t, rows, block, scores, choice);
  const ptrdiff_t first_lane = static_cast<ptrdiff_t>(block) * kBlockLanes;
  const RowGroups groups = choice.Choose(s, block * kBlockLanes, scores, kBlockLanes);
  __m256 correction[kBlockVectors];
  __m256 scale[kBlockVectors];
  for (int v = 0; v < kBlockVectors; ++v) {
    const ptrdiff_t in_block = v * ptrdiff_t{kVectorLanes};
    const ptrdiff_t lane = first_lane + in_block;
    const TileFactors factors = SoftmaxLanes({.scores = scores + in_block,
                                              .tops = choice.tops[v],
                                              .value_scales = rows.value_scales,
                                              .scale = choice.scale[v],
                                              .bias = choice.bias[v]},
                                             groups,
                                             s.max + lane,
                                             s.sum + lane);
    correction[v] = factors.correction;
    scale[v] = factors.scale;
  }
  float* acc = s.acc + first_lane * t.padded_dim;
  for (int c = 0; c < t.head_dim; c += 4) {
    AddValues(rows.values + static_cast<ptrdiff_t>(c) / 4 * rows.rows.with_means(),
              reinterpret_cast<const int32_t*>(scores),
              groups,
              correction,
              scale,
              acc + static_cast<ptrdiff_t>(c) * kBlockLanes);
  }
}

// Rows that are read next, some for each block.
void PrefetchRows(const AttendTile& t, int begin, int end) {
  for (int j = begin; j < end; ++j) {
    AttendFew<Avx2>::Prefetch(t.next_keys[j] + t.head_offset, t.head_bytes);
    AttendFew<Avx2>::Prefetch(t.next_values[j] + t.head_offset, t.head_bytes);
  }
}

template <class Element>
void RunBytes(const AttendTile& t, const AttendState& s) {
  RowCodes rows(t.n_rows);
  PackRows<Element>(t, rows);
  const int n_blocks = t.padded_lanes / kBlockLanes;
  for (int block = 0; block < n_blocks; ++block) {
    PrefetchRows(t, t.n_next * block / n_blocks, t.n_next * (block + 1) / n_blocks);
    RunBlock(t, s, rows, block);
  }
}

void UnpackSums(float* acc, float* scratch, int padded_dim, int padded_lanes) {
  const ptrdiff_t n = static_cast<ptrdiff_t>(padded_dim) * padded_lanes;
  __builtin_memcpy(scratch, acc, n * sizeof(float));
  for (int lane = 0; lane < padded_lanes; ++lane) {
    const float* in = scratch +
                      static_cast<ptrdiff_t>(lane / kBlockLanes) * padded_dim * kBlockLanes +
                      lane % kBlockLanes;
    float* out = acc + static_cast<ptrdiff_t>(lane) * padded_dim;
    for (int c = 0; c < padded_dim; ++c) out[c] = in[static_cast<ptrdiff_t>(c) * kBlockLanes];
  }
}

template <class Element>
void UseBytes(AttendKernels& kernels) {
  kernels.many_rows = kManyRows;
  kernels.many = RunBytes<Element>;
  kernels.pack_queries = PackInt8Queries<Element>;
  kernels.unpack_sums = UnpackSums;
}

}  // namespace

AttendKernelSet AttendKernelsAvx2() {
  AttendKernelSet kernels = MakeAttendKernels<Avx2>();
  // Scores of sixteen lanes are in use at a time, so that more lanes share the rows' codes.
  kernels.tile_lanes = 384;
  kernels.deep_tile_lanes = 768;
  UseBytes<Bf16>(kernels.bf16);
  UseBytes<Int8>(kernels.int8);
  return kernels;
}

}  // namespace keyhole
