// What selection needs to know of one model: sizes, distances and, where it scores, maps.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/attention/selective_attention.h"
#include "engine/engine_config.h"
#include "engine/kv/digest_store.h"
#include "engine/model/model_config.h"
#include "engine/request/sequence_positions.h"
#include "engine/selection/digest_maps.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// Sizes and distances from the settings, with the model's and the policy's defaults filled in.
// Errors: INVALID_ARGUMENT where a distance does not fit the model's trained length.
absl::StatusOr<AttentionSettings> ResolveAttention(const EngineConfig& config,
                                                   const PolicyTraits& traits,
                                                   const ModelConfig& model,
                                                   PositionMode positions);

// The parts of a policy that come from settings and model; store, rope and digests are left empty.
PolicyParts ResolvePolicyParts(const SelectionSettings& settings,
                               const PolicyTraits& traits,
                               const ModelConfig& model,
                               PositionMode positions);

// Short chunks at a prompt's end for policies that choose, where the prompt is long enough for them
// to have a choice.
Chunking ChunkingOf(const SelectionSettings& settings,
                    const PolicyTraits& traits,
                    const AttentionSettings& attention);

// Maps that keep the leading dimensions of every head: for weights that mean nothing, so that
// benchmarks of synthetic models do the work of selection.
DigestMaps TruncatingMaps(const ModelConfig& model, DigestForm form);

// Room for the digests of every page. REQUIRES: maps.
DigestLayout DigestLayoutOf(const DigestMaps& maps,
                            const PolicyTraits& traits,
                            std::int32_t page_size,
                            std::int32_t coarse_dims);

// Positions and distances that a rope table must cover.
std::int64_t RopePositions(const AttentionSettings& attention,
                           const PolicyParts& parts,
                           std::int64_t max_context);

}  // namespace keyhole
