// The queries of a chunk that candidates are scored with.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/ops/rope.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

struct ProbeRule {
  std::int32_t probes = 0;  // of a chunk, at most: means of equally many queries; 0: every query
  std::int32_t single_queries = 0;  // chunks of at most so many have a probe of every query
  bool sum_groups = false;    // the query heads of a KV head are added up (exact for summed logits)
  std::int32_t distance = 0;  // probes are rotated to this distance
  std::int32_t n_kv_heads = 0;
};

// [n_probes, n_heads, head_dim] f32, n_heads one per KV head where groups are summed.
struct QueryProbes {
  std::int32_t n_probes = 0;
  std::int32_t n_heads = 0;
  std::vector<float> values;
};

// Probes of context.queries, which are un-rotated: rotation is linear, so the mean comes first.
// The rotation carries YaRN's attention factor, and so do the probes. Reuses the memory of
// `probes`.
void MakeProbes(const SelectionContext& context,
                const ProbeRule& rule,
                RopeRows rope,
                QueryProbes& probes);

}  // namespace keyhole
