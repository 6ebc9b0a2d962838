// Rows of a chunk by the tile products of AMX. Codes of weights become bf16 a few blocks at a time,
// in the nearest cache, and all rows pass by them: sums of bf16 products need no scales, which take
// longer than int8 products do.
#include <immintrin.h>

#include "engine/ops/cpu/bf16_math.h"
#include "engine/ops/cpu/linear_chunk.h"
#include "engine/ops/cpu/linear_widen_avx512.h"
#include "engine/ops/cpu/tiles.h"

namespace keyhole {
namespace {

static_assert(kTileRows == kChunkTileRows && kTileRows == kPanelColumns);

constexpr int kMostBlocks = 20;  // of a panel in bf16 at a time: 40 KB with its neighbour

// Blocks of weights as tiles of [16 pairs along n_in][16 columns].
struct WeightTiles {
  alignas(64) char data[kChunkPanels][kMostBlocks][kTileBytes];
};

// A product while it runs: a stretch of blocks of two panels.
struct Product {
  const LinearPanels& w;
  const LinearChunk& chunk;
  int64_t first;  // block of all
  int n_blocks;
  WeightTiles weights;
};

// Of 32 rows and two panels, [row / 16][panel][16][16].
using Sums = float[2][kChunkPanels][kTileRows * kPanelColumns];

// Adds the stretch to the sums of rows [row, row + 32).
void AddRows(const Product& p, int64_t row, Sums& sums) {
  if (p.first == 0) {
    KEYHOLE_TILE_ZERO(0);
    KEYHOLE_TILE_ZERO(1);
    KEYHOLE_TILE_ZERO(2);
    KEYHOLE_TILE_ZERO(3);
  } else {
    KEYHOLE_TILE_LOAD(0, sums[0][0], 64);
    KEYHOLE_TILE_LOAD(1, sums[0][1], 64);
    KEYHOLE_TILE_LOAD(2, sums[1][0], 64);
    KEYHOLE_TILE_LOAD(3, sums[1][1], 64);
  }
  const int64_t n_blocks = p.w.n_in / kBlock;
  const auto* x = reinterpret_cast<const char*>(p.chunk.x) +
                  (row / kTileRows * n_blocks + p.first) * kTileBytes;
  // A second tile of rows that is not there is the first one again, and its sums are dropped.
  const char* below = row + kTileRows < p.chunk.n_rows ? x + n_blocks * kTileBytes : x;
  for (int b = 0; b < p.n_blocks; ++b, x += kTileBytes, below += kTileBytes) {
    KEYHOLE_TILE_LOAD(6, p.weights.data[0][b], 64);
    KEYHOLE_TILE_LOAD(4, x, 64);
    KEYHOLE_TILE_MULTIPLY_BF16(0, 4, 6);
    KEYHOLE_TILE_LOAD(7, p.weights.data[1][b], 64);
    KEYHOLE_TILE_MULTIPLY_BF16(1, 4, 7);
    KEYHOLE_TILE_LOAD(5, below, 64);
    KEYHOLE_TILE_MULTIPLY_BF16(2, 5, 6);
    KEYHOLE_TILE_MULTIPLY_BF16(3, 5, 7);
  }
  KEYHOLE_TILE_STORE(0, sums[0][0], 64);
  KEYHOLE_TILE_STORE(1, sums[0][1], 64);
  KEYHOLE_TILE_STORE(2, sums[1][0], 64);
  KEYHOLE_TILE_STORE(3, sums[1][1], 64);
}

inline __m512 BiasOf(const LinearPanels& w, int64_t column, __mmask16 columns) {
  if (w.bias == nullptr) return _mm512_setzero_ps();
  return _mm512_maskz_loadu_ps(columns, w.bias + column);
}

int Clamp(int64_t n, int most) {
  if (n < 0) return 0;
  return n < most ? static_cast<int>(n) : most;
}

// Sums to rows of the output.
struct StoreRows {
  const LinearPanels& w;
  const LinearChunk& chunk;
  const LinearChunkOutput& out;

  static int64_t Second(int64_t pair) { return 2 * pair + 1; }
  static int64_t First(int64_t pair) { return 2 * pair; }

  void operator()(int64_t row, int64_t pair, const Sums& sums) const {
    const int64_t column = kChunkPanels * pair * kPanelColumns;
    const int n_columns = Clamp(w.n_columns - column, kChunkPanels * kPanelColumns);
    const auto mask = static_cast<__mmask32>((uint64_t{1} << n_columns) - 1);
    const auto first = static_cast<__mmask16>(mask);
    const auto second = static_cast<__mmask16>(mask >> kPanelColumns);
    const __m512 first_bias = BiasOf(w, column, first);
    const __m512 second_bias = BiasOf(w, column + kPanelColumns, second);
    float* to = out.data + row * out.stride + column;
    const int n = Clamp(chunk.n_rows - row, 2 * kTileRows);
    for (int r = 0; r < n; ++r, to += out.stride) {
      const int at = r % kTileRows * kPanelColumns;
      __m512 a = _mm512_add_ps(_mm512_load_ps(sums[r / kTileRows][0] + at), first_bias);
      __m512 b = _mm512_add_ps(_mm512_load_ps(sums[r / kTileRows][1] + at), second_bias);
      if (out.add) {
        a = _mm512_add_ps(_mm512_maskz_loadu_ps(first, to), a);
        b = _mm512_add_ps(_mm512_maskz_loadu_ps(second, to + kPanelColumns), b);
      }
      _mm512_mask_storeu_ps(to, first, a);
      _mm512_mask_storeu_ps(to + kPanelColumns, second, b);
    }
  }
};

// As exact as bf16. The power never overflows.
inline __m512 Silu(__m512 g) {
  const __m512 minus_log2_e = _mm512_set1_ps(-1.44269504F);
  const __m512 one = _mm512_set1_ps(1);
  const __m512 e = PowerOfTwo(_mm512_mul_ps(_mm512_abs_ps(g), minus_log2_e));
  const __mmask16 above = _mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_GT_OQ);
  const __m512 sigmoid =
      _mm512_mul_ps(_mm512_mask_mov_ps(e, above, one), _mm512_rcp14_ps(_mm512_add_ps(one, e)));
  return _mm512_mul_ps(g, sigmoid);
}

// silu(gate) * up to tiles of bf16.
struct StoreSilu {
  const LinearPanels& w;
  const LinearChunk& out;

  int64_t Second(int64_t pair) const { return pair + w.n_columns / kPanelColumns / 2; }
  static int64_t First(int64_t pair) { return pair; }

  void operator()(int64_t row, int64_t pair, const Sums& sums) const {
    const int64_t n_blocks = (w.n_columns / 2 + kBlock - 1) / kBlock;
    const __m512 gate_bias = BiasOf(w, pair * kPanelColumns, 0xffff);
    const __m512 up_bias = BiasOf(w, Second(pair) * kPanelColumns, 0xffff);
    for (int t = 0; t < 2 && row + t * kTileRows < out.n_rows; ++t) {
      const int64_t tile = row / kTileRows + t;
      uint16_t* to =
          out.x + (tile * n_blocks + pair / 2) * kTileRows * kBlock + pair % 2 * kPanelColumns;
      for (int r = 0; r < kTileRows; ++r, to += kBlock) {
        const __m512 gate = _mm512_add_ps(_mm512_load_ps(sums[t][0] + 16 * r), gate_bias);
        const __m512 up = _mm512_add_ps(_mm512_load_ps(sums[t][1] + 16 * r), up_bias);
        const __m512 value = _mm512_mul_ps(Silu(gate), up);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(value));
      }
    }
  }
};

template <class Store>
void Run(const LinearPanels& w,
         const LinearChunk& chunk,
         const LinearChunkPart& part,
         const Store& store) {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.Set(tile, kTileRows, 64);
  ConfigureTiles(config);
  alignas(64) Sums sums[kMostChunkRows / (2 * kTileRows)];
  Product p = {w, chunk, 0, 0, {}};
  const int64_t n_panels = (w.n_columns + kPanelColumns - 1) / kPanelColumns;
  const int64_t n_blocks = w.n_in / kBlock;
  const int64_t n_stretches = (n_blocks + kMostBlocks - 1) / kMostBlocks;
  for (int64_t pair = part.first_pair; pair < part.last_pair; ++pair) {
    const int64_t second = store.Second(pair);
    for (int64_t i = 0; i < n_stretches; ++i) {
      p.first = n_blocks * i / n_stretches;
      p.n_blocks = static_cast<int>(n_blocks * (i + 1) / n_stretches - p.first);
      const BlockRange blocks = {p.first, p.n_blocks};
      WidenPanel(w, store.First(pair), blocks, p.weights.data[0]);
      WidenPanel(w, second < n_panels ? second : store.First(pair), blocks, p.weights.data[1]);
      for (int64_t row = part.first_row; row < part.last_row; row += 2 * kTileRows) {
        // With one stretch the same few lines take all rows in turn.
        const int64_t at = n_stretches == 1 ? 0 : (row - part.first_row) / (2 * kTileRows);
        AddRows(p, row, sums[at]);
        if (i + 1 == n_stretches) store(row, pair, sums[at]);
      }
    }
  }
  ReleaseTiles();
}

void Multiply(const LinearPanels& w,
              const LinearChunk& chunk,
              const LinearChunkPart& part,
              const LinearChunkOutput& out) {
  Run(w, chunk, part, StoreRows{w, chunk, out});
}

void MultiplySilu(const LinearPanels& w,
                  const LinearChunk& chunk,
                  const LinearChunkPart& part,
                  const LinearChunk& out) {
  Run(w, chunk, part, StoreSilu{w, out});
}

// 1 / sqrt(mean of squares + eps)
__m512 NormScale(const float* x, const LinearChunkSource& source) {
  __m512 sums[4] = {};
  for (int64_t k = 0; k < source.n_in; k += 64) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int left = Clamp(source.n_in - k - 16 * i, 16);
      const __m512 v =
          _mm512_maskz_loadu_ps(static_cast<__mmask16>((1 << left) - 1), x + k + 16 * i);
      sums[i] = _mm512_fmadd_ps(v, v, sums[i]);
    }
  }
  const __m512 sum =
      _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
  const double mean = static_cast<double>(_mm512_reduce_add_ps(sum)) / source.n_in;
  return _mm512_set1_ps(static_cast<float>(1 / __builtin_sqrt(mean + source.eps)));
}

void PackRow(const LinearChunkSource& source, int64_t row, bool there, uint16_t* to) {
  const float* x = source.x + row * source.n_in;
  const bool norm = there && source.norm_weight != nullptr;
  const __m512 scale = norm ? NormScale(x, source) : _mm512_setzero_ps();
  for (int64_t k = 0; k < source.n_in; k += kBlock, to += kChunkTileRows * kBlock) {
    const int left = there ? Clamp(source.n_in - k, kBlock) : 0;
    const auto mask = static_cast<__mmask32>((uint64_t{1} << left) - 1);
    __m512 v[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const auto half = static_cast<__mmask16>(mask >> 16 * i);
      v[i] = _mm512_maskz_loadu_ps(half, x + k + 16 * i);
      if (!norm) continue;
      const __m512 weight = _mm512_maskz_loadu_ps(half, source.norm_weight + k + 16 * i);
      v[i] = _mm512_mul_ps(_mm512_mul_ps(v[i], scale), weight);
    }
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]));
  }
}

void Pack(const LinearChunkSource& source, int64_t tile, const LinearChunk& packed) {
  const int64_t n_blocks = (source.n_in + kBlock - 1) / kBlock;
  uint16_t* to = packed.x + tile * n_blocks * kTileRows * kBlock;
  for (int r = 0; r < kTileRows; ++r) {
    const int64_t row = tile * kTileRows + r;
    PackRow(source, row, row < packed.n_rows, to + r * kBlock);
  }
}

}  // namespace

LinearChunkKernels LinearChunkKernelsAmx() { return {Pack, Multiply, MultiplySilu}; }

}  // namespace keyhole
