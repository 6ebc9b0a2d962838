#include "engine/selection/exact_scorer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/ops/store_row.h"
#include "engine/scoped_timer.h"
#include "engine/selection/dot.h"

namespace keyhole {
namespace {

constexpr std::int32_t kTileRows = 256;

std::int32_t TilesOf(std::size_t n) {
  return static_cast<std::int32_t>((n + kTileRows - 1) / kTileRows);
}

// Undoes the rotation by one position, scaled by the same factor as its table.
void RotateBack(const float* cos, const float* sin, float scale, std::span<float> x) {
  const std::size_t half = x.size() / 2;
  for (std::size_t c = 0; c < half; ++c) {
    const float low = x[c] * scale;
    const float high = x[c + half] * scale;
    x[c] = low * cos[c] + high * sin[c];
    x[c + half] = high * cos[c] - low * sin[c];
  }
}

}  // namespace

ExactScorer::ExactScorer(const PolicyParts& parts)
    : parts_(parts),
      probe_rule_({.probes = parts.probes,
                   .single_queries = parts.single_queries,
                   .sum_groups = false,
                   .distance = parts.query_distance,
                   .n_kv_heads = parts.n_kv_heads}) {}

void ExactScorer::LoadKey(const SelectionContext& context,
                          std::int32_t row,
                          std::span<float> key) const {
  const KvLayout& layout = parts_.store->layout();
  const std::byte* at =
      parts_.store->LayerRows(context.pages[row / layout.page_size], context.layer) +
      static_cast<std::size_t>(row % layout.page_size) * layout.row_bytes();
  LoadHeads(layout, at, key.data());
  if (parts_.positions == PositionMode::kRectified) return;
  const auto d = static_cast<std::size_t>(parts_.head_dim);
  const std::size_t angle = static_cast<std::size_t>(row) * (d / 2);
  // cos^2 + sin^2 is the attention factor's square.
  const float scale = 1 / (parts_.rope.attention_factor * parts_.rope.attention_factor);
  for (std::size_t head = 0; head < key.size(); head += d) {
    RotateBack(parts_.rope.cos + angle, parts_.rope.sin + angle, scale, key.subspan(head, d));
  }
}

void ExactScorer::Logits(Device& device,
                         const SelectionContext& context,
                         const Candidates& candidates,
                         const float* probe) {
  const auto n = static_cast<std::size_t>(candidates.rows.size());
  const std::int32_t d = parts_.head_dim;
  const std::int32_t group = parts_.n_heads / parts_.n_kv_heads;
  const float scale = parts_.rope.attention_factor / std::sqrt(static_cast<float>(d));
  const std::int32_t tiles = TilesOf(n);
  device.pool().ParallelFor(tiles, [&](std::int64_t tile) {
    std::vector<float> key(static_cast<std::size_t>(parts_.n_kv_heads) * d);
    const auto begin = static_cast<std::size_t>(tile) * kTileRows;
    const std::size_t end = std::min(begin + kTileRows, n);
    for (std::int32_t h = 0; h < parts_.n_heads; ++h) {
      tile_max_[h * tiles + tile] = -std::numeric_limits<float>::infinity();
    }
    for (std::size_t j = begin; j < end; ++j) {
      LoadKey(context, candidates.RowAt(candidates.rows.begin + static_cast<std::int32_t>(j)), key);
      for (std::int32_t h = 0; h < parts_.n_heads; ++h) {
        const float* q = probe + static_cast<std::ptrdiff_t>(h) * d;
        const float* k = key.data() + static_cast<std::ptrdiff_t>(h / group) * d;
        const float logit = Dot(q, k, d) * scale;
        logits_[h * n + j] = logit;
        tile_max_[h * tiles + tile] = std::max(tile_max_[h * tiles + tile], logit);
      }
    }
  });
}

void ExactScorer::Vote(Device& device, std::span<float> scores) {
  const std::size_t n = scores.size();
  const std::int32_t tiles = TilesOf(n);
  const std::int32_t heads = parts_.n_heads;
  std::vector<float> top(heads);
  for (std::int32_t h = 0; h < heads; ++h) {
    const float* of_head = tile_max_.data() + static_cast<std::ptrdiff_t>(h) * tiles;
    top[h] = *std::max_element(of_head, of_head + tiles);
  }
  const auto for_tiles = [&](auto&& run) {
    device.pool().ParallelFor(tiles, [&](std::int64_t tile) {
      const auto begin = static_cast<std::size_t>(tile) * kTileRows;
      run(tile, begin, std::min(begin + kTileRows, n));
    });
  };
  for_tiles([&](std::int64_t tile, std::size_t begin, std::size_t end) {
    for (std::int32_t h = 0; h < heads; ++h) {
      double sum = 0;
      for (std::size_t j = begin; j < end; ++j) {
        float& logit = logits_[h * n + j];
        logit = std::exp(logit - top[h]);
        sum += logit;
      }
      tile_sum_[h * tiles + tile] = sum;
    }
  });
  std::vector<float> inverse(heads);
  for (std::int32_t h = 0; h < heads; ++h) {
    double sum = 0;
    for (std::int32_t t = 0; t < tiles; ++t) sum += tile_sum_[h * tiles + t];
    inverse[h] = static_cast<float>(1 / sum);
  }
  for_tiles([&](std::int64_t, std::size_t begin, std::size_t end) {
    for (std::size_t j = begin; j < end; ++j) {
      float vote = 0;
      for (std::int32_t h = 0; h < heads; ++h) vote += logits_[h * n + j] * inverse[h];
      scores[j] = std::max(scores[j], vote);
    }
  });
}

void ExactScorer::Score(Device& device,
                        const SelectionContext& context,
                        const Candidates& candidates,
                        LayerSelection& times,
                        std::span<float> scores) {
  const ScopedTimer timer(&times[SelectionStage::kScore]);
  const TraceSpan span(device.trace(), "score");
  MakeProbes(context, probe_rule_, parts_.rope, probes_);
  const auto tiles = static_cast<std::size_t>(TilesOf(scores.size()));
  logits_.resize(scores.size() * parts_.n_heads);
  tile_max_.resize(tiles * parts_.n_heads);
  tile_sum_.resize(tiles * parts_.n_heads);
  std::fill(scores.begin(), scores.end(), 0.0F);
  for (std::int32_t p = 0; p < probes_.n_probes; ++p) {
    const float* probe =
        probes_.values.data() + static_cast<std::ptrdiff_t>(p) * parts_.n_heads * parts_.head_dim;
    Logits(device, context, candidates, probe);
    Vote(device, scores);
  }
}

}  // namespace keyhole
