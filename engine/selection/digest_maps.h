// Linear maps that compress queries and keys for scoring, found by calibration. Plain data.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace keyhole {

// kPerKvHead: each KV head has a map of its own and every query head keeps its logits.
// kConcatenated: one map of all KV heads side by side; a group's queries are summed first (ESA).
enum class DigestForm { kPerKvHead, kConcatenated };

// [n_groups, rank, in_dim] each. A key's products with `key` are rounded to int8 codes; `query` has
// the codes' scales divided out, so that query-codes times key-codes approximate the raw logit q.k.
struct LayerDigestMaps {
  std::vector<float> query;
  std::vector<float> key;
  bool selects = true;  // false: this layer does as well with initial and local rows alone
};

struct DigestMaps {
  DigestForm form = DigestForm::kPerKvHead;
  std::int32_t n_groups = 0;        // KV heads, or 1
  std::int32_t rank = 0;            // dimensions of a group's digest, a multiple of 4
  std::int32_t in_dim = 0;          // head_dim, or n_kv_heads * head_dim
  std::int32_t query_distance = 0;  // queries are rotated to this distance before they are mapped
  std::vector<LayerDigestMaps> layers;
};

// Slots of a page's digests: one for each layer that selects.
inline std::int32_t CountSlots(const DigestMaps& maps) {
  return static_cast<std::int32_t>(std::count_if(
      maps.layers.begin(), maps.layers.end(), [](const auto& layer) { return layer.selects; }));
}

}  // namespace keyhole
