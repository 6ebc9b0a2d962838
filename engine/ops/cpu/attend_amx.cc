// Attention by the tile products of AMX, in bf16 with f32 sums. Of many queries a block of lanes
// goes through scores, softmax and sums of values while its scores are in the nearest cache.
#include <immintrin.h>

#include "engine/ops/cpu/attend_bf16_rows.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_one_amx.h"
#include "engine/ops/cpu/attend_softmax_lanes.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/bf16_math.h"
#include "engine/ops/cpu/tiles.h"
#include "engine/ops/cpu/transpose_avx512.h"

namespace keyhole {
namespace {

constexpr int kWidth = 16;                        // lanes of a vector and of a tile
constexpr int kPairWidth = 32;                    // bf16 in a tile's row
constexpr int kManyRows = 256;                    // of an AttendTile
constexpr int kBlockScores = kManyRows * kWidth;  // of sixteen lanes
static_assert(kManyRows <= kAttendMostRows);

constexpr int PadTo32(int n) { return (n + kPairWidth - 1) / kPairWidth * kPairWidth; }

void Configure() {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.Set(tile, kTileRows, 64);
  ConfigureTiles(config);
}

// Rows [padded_lanes, head_dim] become pairs of dimensions [PadTo32(head_dim) / 2, padded_lanes].
void PackQueries(const float* rows, float* queries, int head_dim, int padded_lanes) {
  const int n_pairs = PadTo32(head_dim) / 2;
  for (int lane = 0; lane < padded_lanes; lane += kWidth) {
    for (int c = 0; c < 2 * n_pairs; c += kPairWidth) {
      const __mmask64 mask = FirstOnes(head_dim - c);
      __m512i pairs[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        const float* row = rows + static_cast<ptrdiff_t>(lane + i) * head_dim + c;
        const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), row);
        const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), row + 16);
        pairs[i] = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      }
      Transpose(pairs);
      float* out = queries + static_cast<ptrdiff_t>(c / 2) * padded_lanes + lane;
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        _mm512_storeu_si512(out + static_cast<ptrdiff_t>(i) * padded_lanes, pairs[i]);
      }
    }
  }
}

// What an AttendTile is while it is multiplied. Rows are padded with zeros to a multiple of 32.
struct Operands {
  int n_rows;          // padded
  int dim;             // of keys: padded to 32
  const Bf16* keys;    // [n_rows, dim]
  const char* values;  // tiles [n_rows / 32][padded_dim / 16] of [16 dimensions][16 pairs of rows]
};

template <class Element>
void CopyKeys(const AttendTile& t, int dim, int padded_rows, Bf16* out) {
  auto* to = reinterpret_cast<uint16_t*>(out);
  for (int j = 0; j < padded_rows; ++j) {
    const bool there = j < t.n_rows;
    const auto* in =
        reinterpret_cast<const Element*>(t.keys[there ? j : t.n_rows - 1] + t.head_offset);
    const float scale = ScaleOf(in, t.head_dim);
    for (int c = 0; c < dim; c += kWidth, to += kWidth) {
      const auto mask = static_cast<__mmask16>(there ? FirstOnes(t.head_dim - c) : 0);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), LoadBf16(in + c, mask, scale));
    }
  }
}

template <class Element>
void TransposeValues(const AttendTile& t, int padded_rows, char* out) {
  for (int j = 0; j < padded_rows; j += 2 * kTileRows) {
    const Element* rows[2 * kTileRows];
    float scales[2 * kTileRows];
    for (int r = 0; r < 2 * kTileRows; ++r) {
      const int row = j + r < t.n_rows ? j + r : t.n_rows - 1;
      rows[r] = reinterpret_cast<const Element*>(t.values[row] + t.head_offset);
      scales[r] = ScaleOf(rows[r], t.head_dim);
    }
    for (int c = 0; c < t.padded_dim; c += kWidth, out += kTileBytes) {
      const auto whole = static_cast<__mmask16>(FirstOnes(t.head_dim - c));
      __m512i pairs[kTileRows];
#pragma GCC unroll 16
      for (int i = 0; i < kTileRows; ++i) {
        const int r = 2 * i;
        const __mmask16 low = j + r < t.n_rows ? whole : 0;
        const __mmask16 high = j + r + 1 < t.n_rows ? whole : 0;
        pairs[i] = Pair(LoadBf16(rows[r] + c, low, scales[r]),
                        LoadBf16(rows[r + 1] + c, high, scales[r + 1]));
      }
      Transpose(pairs);
#pragma GCC unroll 16
      for (int i = 0; i < kTileRows; ++i) _mm512_storeu_si512(out + 64 * i, pairs[i]);
    }
  }
}

// scores [kLaneTiles][n_rows][16] of the lanes from `lane` on.
template <int kLaneTiles>
void Score(const AttendTile& t, const Operands& o, int lane, float* scores) {
  const ptrdiff_t key_bytes = o.dim * ptrdiff_t{sizeof(Bf16)};
  const ptrdiff_t query_bytes = t.padded_lanes * ptrdiff_t{sizeof(float)};
  for (int j = 0; j < o.n_rows; j += 2 * kTileRows) {
    const auto* keys = reinterpret_cast<const char*>(o.keys) + j * key_bytes;
    const auto* queries = reinterpret_cast<const char*>(t.queries + lane);
    KEYHOLE_TILE_ZERO(0);
    KEYHOLE_TILE_ZERO(1);
    if constexpr (kLaneTiles == 2) {
      KEYHOLE_TILE_ZERO(2);
      KEYHOLE_TILE_ZERO(3);
    }
    for (int c = 0; c < o.dim; c += kPairWidth) {
      KEYHOLE_TILE_LOAD(4, keys, key_bytes);
      KEYHOLE_TILE_LOAD(6, queries, query_bytes);
      KEYHOLE_TILE_MULTIPLY_BF16(0, 4, 6);
      KEYHOLE_TILE_LOAD(5, keys + kTileRows * key_bytes, key_bytes);
      KEYHOLE_TILE_MULTIPLY_BF16(1, 5, 6);
      if constexpr (kLaneTiles == 2) {
        KEYHOLE_TILE_LOAD(7, queries + 64, query_bytes);
        KEYHOLE_TILE_MULTIPLY_BF16(2, 4, 7);
        KEYHOLE_TILE_MULTIPLY_BF16(3, 5, 7);
      }
      keys += 64;
      queries += kTileRows * query_bytes;
    }
    float* out = scores + j * kWidth;
    KEYHOLE_TILE_STORE(0, out, 64);
    KEYHOLE_TILE_STORE(1, out + kTileRows * kWidth, 64);
    if constexpr (kLaneTiles == 2) {
      KEYHOLE_TILE_STORE(2, out + kBlockScores, 64);
      KEYHOLE_TILE_STORE(3, out + kBlockScores + kTileRows * kWidth, 64);
    }
  }
}

// acc [padded_dim, padded_lanes] += values . weights, for 16 dimensions from c on, and 16 more.
template <int kDimTiles, int kLaneTiles>
void AddValues(const AttendTile& t, const Operands& o, int c, const float* weights, float* acc) {
  const ptrdiff_t acc_bytes = t.padded_lanes * ptrdiff_t{sizeof(float)};
  const ptrdiff_t values_bytes = t.padded_dim / kWidth * ptrdiff_t{kTileBytes};
  float* below = acc + static_cast<ptrdiff_t>(kTileRows) * t.padded_lanes;
  KEYHOLE_TILE_LOAD(0, acc, acc_bytes);
  if constexpr (kLaneTiles == 2) KEYHOLE_TILE_LOAD(1, acc + kWidth, acc_bytes);
  if constexpr (kDimTiles == 2) KEYHOLE_TILE_LOAD(2, below, acc_bytes);
  if constexpr (kDimTiles + kLaneTiles == 4) KEYHOLE_TILE_LOAD(3, below + kWidth, acc_bytes);
  const char* values = o.values + c / kWidth * ptrdiff_t{kTileBytes};
  for (int j = 0; j < o.n_rows; j += 2 * kTileRows) {
    KEYHOLE_TILE_LOAD(4, values, 64);
    KEYHOLE_TILE_LOAD(6, weights, 64);
    KEYHOLE_TILE_MULTIPLY_BF16(0, 4, 6);
    if constexpr (kLaneTiles == 2) {
      KEYHOLE_TILE_LOAD(7, weights + kBlockScores, 64);
      KEYHOLE_TILE_MULTIPLY_BF16(1, 4, 7);
    }
    if constexpr (kDimTiles == 2) {
      KEYHOLE_TILE_LOAD(5, values + kTileBytes, 64);
      KEYHOLE_TILE_MULTIPLY_BF16(2, 5, 6);
    }
    if constexpr (kDimTiles + kLaneTiles == 4) KEYHOLE_TILE_MULTIPLY_BF16(3, 5, 7);
    values += values_bytes;
    weights += kTileRows * kWidth;
  }
  KEYHOLE_TILE_STORE(0, acc, acc_bytes);
  if constexpr (kLaneTiles == 2) KEYHOLE_TILE_STORE(1, acc + kWidth, acc_bytes);
  if constexpr (kDimTiles == 2) KEYHOLE_TILE_STORE(2, below, acc_bytes);
  if constexpr (kDimTiles + kLaneTiles == 4) KEYHOLE_TILE_STORE(3, below + kWidth, acc_bytes);
}

// Sixteen lanes: scores become weights, and what was summed before is scaled to the new maxima.
void Softmax(const AttendTile& t, const AttendState& s, int padded_rows, int lane, float* scores) {
  const LaneScores lanes = {.scores = scores,
                            .stride = kWidth,
                            .n_rows = t.n_rows,
                            .padded_rows = padded_rows,
                            .visible = t.visible == nullptr ? nullptr : t.visible + lane,
                            .scale = _mm512_set1_ps(1),
                            .bias = _mm512_loadu_ps(t.bias + lane)};
  const __m512 correction = SoftmaxLanes(lanes, s.max + lane, s.sum + lane);
  if (_mm512_cmpneq_ps_mask(correction, _mm512_set1_ps(1)) == 0) return;
  for (int c = 0; c < t.padded_dim; ++c) {
    float* acc = s.acc + static_cast<ptrdiff_t>(c) * t.padded_lanes + lane;
    _mm512_storeu_ps(acc, _mm512_mul_ps(_mm512_loadu_ps(acc), correction));
  }
}

template <int kLaneTiles>
void RunLanes(const AttendTile& t, const AttendState& s, const Operands& o, int lane) {
  float* scores = t.scores;
  Score<kLaneTiles>(t, o, lane, scores);
  for (int i = 0; i < kLaneTiles; ++i) {
    Softmax(t, s, o.n_rows, lane + i * kWidth, scores + static_cast<ptrdiff_t>(i) * kBlockScores);
  }
  for (int c = 0; c < t.padded_dim;) {
    float* acc = s.acc + static_cast<ptrdiff_t>(c) * t.padded_lanes + lane;
    if (t.padded_dim - c > kWidth) {
      AddValues<2, kLaneTiles>(t, o, c, scores, acc);
      c += 2 * kWidth;
    } else {
      AddValues<1, kLaneTiles>(t, o, c, scores, acc);
      c += kWidth;
    }
  }
}

template <class Element>
void Run(const AttendTile& t, const AttendState& s) {
  Operands o = {};
  o.n_rows = PadTo32(t.n_rows);
  o.dim = PadTo32(t.head_dim);
  auto* keys = reinterpret_cast<Bf16*>(t.rows);
  auto* values = reinterpret_cast<char*>(keys + static_cast<ptrdiff_t>(o.n_rows) * o.dim);
  CopyKeys<Element>(t, o.dim, o.n_rows, keys);
  TransposeValues<Element>(t, o.n_rows, values);
  o.keys = keys;
  o.values = values;
  Configure();
  int lane = 0;
  for (; lane + 2 * kWidth <= t.padded_lanes; lane += 2 * kWidth) RunLanes<2>(t, s, o, lane);
  if (lane < t.padded_lanes) RunLanes<1>(t, s, o, lane);
  ReleaseTiles();
}

// acc [padded_dim, padded_lanes] becomes [padded_lanes, padded_dim].
void UnpackSums(float* acc, float* scratch, int padded_dim, int padded_lanes) {
  const ptrdiff_t n = static_cast<ptrdiff_t>(padded_dim) * padded_lanes;
  __builtin_memcpy(scratch, acc, n * sizeof(float));
  Transpose(scratch, padded_dim, padded_lanes, acc);
}

template <class Element>
void UseTiles(AttendKernels& kernels) {
  kernels.one = RunOneQuery<Element>;
  kernels.many_rows = kManyRows;
  kernels.many = Run<Element>;
  kernels.pack_queries = PackQueries;
  kernels.unpack_sums = UnpackSums;
}

}  // namespace

AttendKernelSet AttendKernelsAmx() {
  AttendKernelSet kernels = AttendKernelsAvx512Bf16();
  // Scores of 32 lanes are in use at a time, so that more lanes share the rows' copies.
  kernels.tile_lanes = 384;
  kernels.deep_tile_lanes = 0;
  UseTiles<Bf16>(kernels.bf16);
  UseTiles<Int8>(kernels.int8);
  return kernels;
}

}  // namespace keyhole
