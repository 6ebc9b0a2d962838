// The Llama family: Llama 2 and 3, Mistral, Qwen2, 2.5 and 3, SmolLM2.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/attention/selective_attention.h"
#include "engine/device/device.h"
#include "engine/model/activations.h"
#include "engine/model/embedding.h"
#include "engine/model/model.h"
#include "engine/model/model_shard.h"
#include "engine/model/model_weights.h"
#include "engine/model/rope_table.h"
#include "engine/model/tensor_parallel.h"

namespace keyhole {

struct LlamaParts {
  std::shared_ptr<const WeightSource> source;
  ModelShard shard;                       // the part that this process holds
  std::unique_ptr<TensorParallel> ranks;  // null: it holds all
  ModelWeights weights;
  std::unique_ptr<const RopeTable> rope;
  std::unique_ptr<SelectiveAttention> attention;  // uses *rope
  Device* device = nullptr;                       // outlives the model
};

// Pre-norm decoder with RoPE, grouped-query attention and SwiGLU; what differs between models is in
// ModelConfig. Owner: the model executor. Thread: executor only.
class Llama final : public Model {
 public:
  Llama(LlamaParts parts, const TokenEmbedding& embedding);

  const ModelConfig& config() const override { return parts_.source->config(); }
  std::size_t weight_bytes() const override { return WeightBytes(parts_.weights); }

  // The rows that need no logits skip what follows attention in the last layer.
  // REQUIRES: result.sequences is parallel to input.sequences.
  absl::StatusOr<at::Tensor> Forward(const ModelInput& input, StepResult& result) override;

 private:
  // The last layer's rows that logits are wanted of, after all layers.
  Activations RunLayers(const ModelInput& input, StepResult& result);
  at::Tensor Logits(const at::Tensor& normed);

  LlamaParts parts_;
  TokenEmbedding embedding_;
  ActivationBuffers buffers_;
  ActivationBuffers logit_buffers_;
  ActivationBuffers shard_buffers_;  // of this rank's logits, before they are gathered
};

}  // namespace keyhole
