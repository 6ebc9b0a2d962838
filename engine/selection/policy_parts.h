// What selection policies are made of. Plain data.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/kv/digest_store.h"
#include "engine/kv/host_store.h"
#include "engine/ops/rope.h"
#include "engine/selection/digest_maps.h"
#include "engine/types.h"

namespace keyhole {

// A policy takes what it needs; `full` needs nothing. Pointers outlive the policy. Sizes have no
// defaults here: they are SelectionSettings' and the policies' traits'.
struct PolicyParts {
  std::int32_t n_heads = 0;
  std::int32_t n_kv_heads = 0;
  std::int32_t head_dim = 0;
  const HostStore* store = nullptr;                // rows of the past, for exact scores
  PositionMode positions = PositionMode::kNative;  // tells whether the store's keys are rotated
  RopeRows rope = {};                              // of every position and of query_distance

  std::shared_ptr<const DigestMaps> maps;  // of the form that the policy's traits ask for
  DigestStore* digests = nullptr;          // one slot for each layer that selects

  std::int32_t query_distance = 0;  // queries are scored as if every candidate were this far
  std::int32_t proximity = 0;       // a row's neighbours on either side share its score
  std::int32_t probes = 0;          // of a prefill chunk, at most; 0: one of every query
  std::int32_t single_queries = 0;  // chunks of at most so many have a probe of every query
  // Where digests have coarse copies: rows of the best blocks, at least, that are scored wholly.
  std::int32_t fine_rows = 0;
  std::int32_t recall_interval = 0;  // decode selections between two recall samples; 0: none
};

}  // namespace keyhole
