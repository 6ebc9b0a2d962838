#include "engine/selection_setup.h"

#include <algorithm>

#include "engine/attention/distances.h"
#include "engine/selection/digest_scorer.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<AttentionSettings> ResolveAttention(const EngineConfig& config,
                                                   const PolicyTraits& traits,
                                                   const ModelConfig& model,
                                                   PositionMode positions) {
  const SelectionSettings& settings = config.selection;
  AttentionSettings attention;
  attention.positions = positions;
  attention.sizes.initial = settings.initial;
  attention.sizes.local = settings.local > 0 ? settings.local : DefaultLocal(model.trained_length);
  attention.prefill_local =
      settings.prefill_local > 0 ? settings.prefill_local : attention.sizes.local;
  attention.sizes.selected = settings.selected.value_or(traits.default_selected);
  attention.max_selected = std::max(attention.max_selected, attention.sizes.selected);
  DistanceSettings& distances = attention.distances;
  distances = DefaultDistances(attention.sizes.local);
  distances.chunk_size = config.scheduler.chunk_size;
  distances.recall.selected = settings.recall_distance.value_or(distances.recall.selected);
  // What a shorter window leaves out is lost where nothing selects it.
  distances.recall.local =
      traits.middle == MiddleRule::kBudget ? distances.recall.selected : attention.sizes.local;
  distances.recall.budget = settings.recall_selected.value_or(distances.recall.budget);
  distances.recall.far_bias = settings.recall_bias.value_or(distances.recall.far_bias);
  if (positions == PositionMode::kRectified) {
    KEYHOLE_RETURN_IF_ERROR(CheckDistances(distances, attention.sizes, model.trained_length));
  }
  return attention;
}

PolicyParts ResolvePolicyParts(const SelectionSettings& settings,
                               const PolicyTraits& traits,
                               const ModelConfig& model,
                               PositionMode positions) {
  PolicyParts parts;
  parts.n_heads = static_cast<std::int32_t>(model.n_heads);
  parts.n_kv_heads = static_cast<std::int32_t>(model.n_kv_heads);
  parts.head_dim = static_cast<std::int32_t>(model.head_dim);
  parts.positions = positions;
  parts.query_distance = DefaultQueryDistance(model.trained_length);
  parts.proximity = settings.proximity.value_or(traits.default_proximity);
  parts.probes = settings.probes;
  parts.single_queries = settings.tail_chunk;
  parts.fine_rows = settings.fine_rows;
  parts.recall_interval = settings.recall_interval;
  return parts;
}

Chunking ChunkingOf(const SelectionSettings& settings,
                    const PolicyTraits& traits,
                    const AttentionSettings& attention) {
  const SelectionSizes& sizes = attention.sizes;
  Chunking chunking;
  chunking.chunk_size = attention.distances.chunk_size;
  chunking.tail = attention.distances.tail;
  if (traits.middle == MiddleRule::kBudget) chunking.tail_chunk = settings.tail_chunk;
  // Shorter ones are read whole, under every profile.
  std::int32_t nearest = sizes.local;
  if (attention.positions == PositionMode::kRectified) {
    const DistanceSettings& d = attention.distances;
    nearest = std::min({nearest, d.recall.local, d.prose.local, d.paper.local});
  }
  chunking.long_prompt =
      std::max(sizes.local, sizes.initial + nearest + sizes.selected) + chunking.tail;
  return chunking;
}

DigestMaps TruncatingMaps(const ModelConfig& model, DigestForm form) {
  constexpr float kCodesPerUnit = 32;
  DigestMaps maps;
  maps.form = form;
  maps.n_groups =
      form == DigestForm::kConcatenated ? 1 : static_cast<std::int32_t>(model.n_kv_heads);
  maps.in_dim = static_cast<std::int32_t>(model.n_kv_heads * model.head_dim) / maps.n_groups;
  maps.rank = maps.in_dim / 2 / 4 * 4;
  maps.query_distance = DefaultQueryDistance(model.trained_length);
  LayerDigestMaps layer;
  const auto size = static_cast<std::size_t>(maps.n_groups) * maps.rank * maps.in_dim;
  layer.key.assign(size, 0);
  layer.query.assign(size, 0);
  for (std::int32_t row = 0; row < maps.n_groups * maps.rank; ++row) {
    const std::size_t at = static_cast<std::size_t>(row) * maps.in_dim + row % maps.rank;
    layer.key[at] = kCodesPerUnit;
    layer.query[at] = 1 / kCodesPerUnit;
  }
  maps.layers.assign(model.n_layers, layer);
  return maps;
}

DigestLayout DigestLayoutOf(const DigestMaps& maps,
                            const PolicyTraits& traits,
                            std::int32_t page_size,
                            std::int32_t coarse_dims) {
  return {.n_slots = CountSlots(maps),
          .n_groups = maps.n_groups,
          .rank = maps.rank,
          .page_size = page_size,
          .coarse_dims = traits.coarse_to_fine ? std::min(coarse_dims, maps.rank / 8 * 8) : 0};
}

std::int64_t RopePositions(const AttentionSettings& attention,
                           const PolicyParts& parts,
                           std::int64_t max_context) {
  std::int64_t largest = std::max<std::int64_t>(max_context - 1, parts.query_distance);
  const DistanceSettings& distances = attention.distances;
  for (const Distances& d : {distances.recall, distances.prose, distances.paper}) {
    largest = std::max<std::int64_t>({largest, d.selected, d.initial});
  }
  return largest + 1;
}

}  // namespace keyhole
