// One query against rows of bf16, or of int8 that become bf16: scores of all KV heads by tile
// products, their softmax with a lane for each query head, sums of values by products of bf16
// pairs. Part of attend_amx.cc.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/attend_bf16_rows.h"
#include "engine/ops/cpu/attend_few_bf16.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_softmax_lanes.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/tiles.h"

namespace keyhole {
namespace {

// kVectors: 32 dimensions each, of a head.
template <class Element, int kVectors>
class OneQueryTile {
 public:
  OneQueryTile(const AttendTile& tile, const AttendState& state)
      : t_(tile), s_(state), group_(tile.lanes / tile.n_kv_heads) {}

  void Run() {
    FindStrides();
    Configure();
    for (int head = 0; head < t_.n_kv_heads; ++head) Score(head);
    ReleaseTiles();
    for (int lane = 0; lane < t_.lanes; lane += kTileRows) Softmax(lane);
    for (int head = 0; head < t_.n_kv_heads; ++head) Weigh(head);
  }

 private:
  static constexpr int kMostBands = kAttendTileRows / kTileRows;
  static constexpr bool kWidens = kHasScale<Element>;
  static constexpr int kDim = 32 * kVectors;
  static constexpr int kRowBytes = 64 * kVectors;  // of a head in bf16

  int n_bands() const { return (t_.n_rows + kTileRows - 1) / kTileRows; }

  // Between the rows of each sixteen, if that is the same for all of them; else 0.
  void FindStrides() {
    for (int band = 0; band < n_bands(); ++band) {
      const unsigned char* const* rows = t_.keys + band * kTileRows;
      const bool whole = t_.n_rows - band * kTileRows >= kTileRows;
      const ptrdiff_t stride = whole ? rows[1] - rows[0] : 0;
      bool even = true;
      for (int r = 2; whole && r < kTileRows; ++r) even &= rows[r] - rows[r - 1] == stride;
      strides_[band] = even ? stride : 0;
    }
  }

  // Sums of [16 rows][group] in tiles 0 to 3; then rows, and queries of [16 pairs][group].
  void Configure() const {
    TileConfig config;
    for (int tile = 0; tile < kMostBands; ++tile) config.Set(tile, kTileRows, 4 * group_);
    config.Set(4, kTileRows, 64);
    config.Set(5, kTileRows, 64);
    config.Set(6, kTileRows, 4 * group_);
    ConfigureTiles(config);
  }

  struct Band {
    const unsigned char* keys;
    ptrdiff_t stride;
  };

  // A head of a row in bf16.
  static void Copy(const unsigned char* head, unsigned char* to) {
    const auto* from = reinterpret_cast<const Element*>(head);
    const float scale = ScaleOf(from, kDim);
#pragma GCC unroll 16
    for (int c = 0; c < kDim; c += 16) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(to) + c / 16,
                         LoadBf16(from + c, static_cast<__mmask16>(~0), scale));
    }
  }

  // A head of sixteen rows; the last one again and again where there are fewer.
  Band BandOf(int band, ptrdiff_t head_offset) {
    const unsigned char* const* rows = t_.keys + band * kTileRows;
    if (!kWidens && strides_[band] != 0) return {rows[0] + head_offset, strides_[band]};
    const int last = t_.n_rows - band * kTileRows - 1;
    unsigned char(*to)[kRowBytes] = copies_ + band * kTileRows;
    for (int r = 0; r < kTileRows; ++r) Copy(rows[r < last ? r : last] + head_offset, to[r]);
    return {to[0], kRowBytes};
  }

  void Score(int head) {
    const ptrdiff_t offset = head * static_cast<ptrdiff_t>(t_.head_bytes);
    switch (n_bands()) {
      case 1:
        return ScoreBands<1>(head, offset);
      case 2:
        return ScoreBands<2>(head, offset);
      case 3:
        return ScoreBands<3>(head, offset);
      default:
        return ScoreBands<4>(head, offset);
    }
  }

  template <int kBands>
  void ScoreBands(int head, ptrdiff_t offset) {
    Band bands[kBands];
    for (int b = 0; b < kBands; ++b) bands[b] = BandOf(b, offset);
    KEYHOLE_TILE_ZERO(0);
    if constexpr (kBands > 1) KEYHOLE_TILE_ZERO(1);
    if constexpr (kBands > 2) KEYHOLE_TILE_ZERO(2);
    if constexpr (kBands > 3) KEYHOLE_TILE_ZERO(3);
    const ptrdiff_t lane_bytes = t_.padded_lanes * ptrdiff_t{sizeof(float)};
    const auto* queries = reinterpret_cast<const char*>(t_.queries + head * group_);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      KEYHOLE_TILE_LOAD(6, queries + v * kTileRows * lane_bytes, lane_bytes);
      KEYHOLE_TILE_LOAD(4, bands[0].keys + 64 * v, bands[0].stride);
      KEYHOLE_TILE_MULTIPLY_BF16(0, 4, 6);
      if constexpr (kBands > 1) {
        KEYHOLE_TILE_LOAD(5, bands[1].keys + 64 * v, bands[1].stride);
        KEYHOLE_TILE_MULTIPLY_BF16(1, 5, 6);
      }
      if constexpr (kBands > 2) {
        KEYHOLE_TILE_LOAD(4, bands[2].keys + 64 * v, bands[2].stride);
        KEYHOLE_TILE_MULTIPLY_BF16(2, 4, 6);
      }
      if constexpr (kBands > 3) {
        KEYHOLE_TILE_LOAD(5, bands[3].keys + 64 * v, bands[3].stride);
        KEYHOLE_TILE_MULTIPLY_BF16(3, 5, 6);
      }
    }
    Prefetch(t_.next_keys, offset);
    float* out = t_.scores + head * group_;
    const ptrdiff_t band_scores = kTileRows * static_cast<ptrdiff_t>(t_.padded_lanes);
    KEYHOLE_TILE_STORE(0, out, lane_bytes);
    if constexpr (kBands > 1) KEYHOLE_TILE_STORE(1, out + band_scores, lane_bytes);
    if constexpr (kBands > 2) KEYHOLE_TILE_STORE(2, out + 2 * band_scores, lane_bytes);
    if constexpr (kBands > 3) KEYHOLE_TILE_STORE(3, out + 3 * band_scores, lane_bytes);
  }

  void Prefetch(const unsigned char* const* rows, ptrdiff_t offset) const {
    constexpr int kHeadBytes = kWidens ? kDim + 4 : kRowBytes;
    for (int r = 0; r < t_.n_next && r < kAttendTileRows; ++r) {
#pragma GCC unroll 8
      for (int b = 0; b < kHeadBytes; b += 64) __builtin_prefetch(rows[r] + offset + b, 0, 2);
    }
  }

  // Sixteen lanes. Those behind the last are never read.
  void Softmax(int lane) const {
    const LaneScores lanes = {.scores = t_.scores + lane,
                              .stride = t_.padded_lanes,
                              .n_rows = t_.n_rows,
                              .padded_rows = t_.n_rows,
                              .visible = nullptr,
                              .scale = _mm512_set1_ps(1),
                              .bias = _mm512_loadu_ps(t_.bias + lane)};
    _mm512_storeu_ps(t_.correction + lane, SoftmaxLanes(lanes, s_.max + lane, s_.sum + lane));
  }

  void Weigh(int head) {
    const ptrdiff_t lane = static_cast<ptrdiff_t>(head) * group_;
    AttendTile tile = t_;
    tile.head_offset = head * static_cast<size_t>(t_.head_bytes);
    tile.correction += lane;
    const unsigned char* values[kAttendTileRows];
    if constexpr (kWidens) {
      for (int j = 0; j < t_.n_rows; ++j) {
        Copy(t_.values[j] + tile.head_offset, copies_[j]);
        values[j] = copies_[j];
      }
      Prefetch(t_.next_values, static_cast<ptrdiff_t>(tile.head_offset));
      tile.values = values;
      tile.head_offset = 0;
      tile.n_next = 0;
    }
    const AttendState state = {
        .max = nullptr, .sum = nullptr, .acc = s_.acc + lane * t_.padded_dim};
    const auto* weights = reinterpret_cast<const uint32_t*>(t_.scores + lane);
    int done = 0;
    for (; done + 4 <= group_; done += 4) WeighLanes<4>(tile, state, weights, done);
    switch (group_ - done) {
      case 3:
        return WeighLanes<3>(tile, state, weights, done);
      case 2:
        return WeighLanes<2>(tile, state, weights, done);
      case 1:
        return WeighLanes<1>(tile, state, weights, done);
      default:
        return;
    }
  }

  template <int kLanes>
  void WeighLanes(const AttendTile& tile,
                  const AttendState& state,
                  const uint32_t* weights,
                  int first) const {
    const WeightPairs pairs = {weights + first, 1, t_.padded_lanes};
    using Few = FewBf16<kLanes, kVectors>;
    for (int c = 0; c < Few::kDim; c += Few::kStep) Few::Weigh(tile, state, pairs, first, c);
  }

  const AttendTile& t_;
  const AttendState& s_;
  const int group_;
  ptrdiff_t strides_[kMostBands];
  alignas(64) unsigned char copies_[kAttendTileRows][kRowBytes];
};

template <class Element>
void RunOneQuery(const AttendTile& t, const AttendState& s) {
  switch (t.head_dim) {
    case 64:
      return OneQueryTile<Element, 2>(t, s).Run();
    case 128:
      return OneQueryTile<Element, 4>(t, s).Run();
    default:
      return OneQueryTile<Element, 8>(t, s).Run();
  }
}

}  // namespace
}  // namespace keyhole
