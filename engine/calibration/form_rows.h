// Sampled queries and keys as the maps of a form take them.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/calibration/samples.h"
#include "engine/model/model_config.h"
#include "engine/ops/rotate_head.h"
#include "engine/selection/digest_maps.h"

namespace keyhole {

// Queries turned to `to`: [n_queries, n_heads, head_dim], or in the concatenated form the sums over
// each group, [n_queries, 1, n_kv_heads * head_dim].
std::vector<float> FormQueries(const ModelConfig& config,
                               DigestForm form,
                               const Rotation& to,
                               const LayerSample& sample);

// Queries of a form: heads, or 1.
inline std::int32_t FormHeads(const ModelConfig& config, DigestForm form) {
  return form == DigestForm::kPerKvHead ? static_cast<std::int32_t>(config.n_heads) : 1;
}

}  // namespace keyhole
