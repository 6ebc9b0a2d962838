// The weights of a Llama-family model, packed for the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/device/device.h"
#include "engine/engine_config.h"
#include "engine/model/model_shard.h"
#include "engine/model/weight_source.h"
#include "engine/ops/linear.h"

namespace keyhole {

struct LayerWeights {
  at::Tensor attn_norm;  // [hidden_size]
  PackedLinear qkv;      // rows of q, then k, then v
  at::Tensor q_norm;     // [head_dim]; undefined unless config.qk_norm
  at::Tensor k_norm;
  PackedLinear o;
  at::Tensor ffn_norm;   // [hidden_size]
  PackedLinear gate_up;  // rows of gate, then up
  PackedLinear down;
};

// Of one rank's part of the model. Immutable after loading.
struct ModelWeights {
  std::vector<LayerWeights> layers;
  at::Tensor output_norm;  // [hidden_size]
  PackedLinear output;     // the token embedding where it is tied
};

// Of the packed matrices.
std::size_t WeightBytes(const ModelWeights& weights);

// Called after each packed layer with the share of the work that is done, in (0, 1].
using LoadProgress = std::function<void(double done)>;

// Reads the part of the weights that `shard` names. Packing uses every thread of the device's pool.
// Errors: those of WeightSource::Get and of PackStack.
absl::StatusOr<ModelWeights> LoadWeights(const WeightSource& source,
                                         const ModelShard& shard,
                                         WeightMode mode,
                                         Device& device,
                                         const LoadProgress& progress);

}  // namespace keyhole
