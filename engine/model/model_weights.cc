#include "engine/model/model_weights.h"

#include <ATen/ops/empty.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "engine/model/weight_names.h"
#include "engine/model/weight_stack.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

using namespace weight_names;  // NOLINT(google-build-using-namespace)

absl::StatusOr<at::Tensor> ReadVector(const WeightSource& source, const std::string& name) {
  KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source.Get(name));
  at::Tensor vector = at::empty({view.n_cols}, at::kFloat);
  DequantizeRow(view, 0, std::span(vector.mutable_data_ptr<float>(), view.n_cols));
  return vector;
}

class Packer {
 public:
  Packer(const WeightSource& source, const ModelShard& shard, WeightMode mode, Device& device)
      : source_(source), shard_(shard), mode_(mode), device_(device) {}

  absl::StatusOr<LayerWeights> PackLayer(std::int64_t layer) {
    LayerWeights weights;
    KEYHOLE_RETURN_IF_ERROR(PackAttention(layer, weights));
    KEYHOLE_ASSIGN_OR_RETURN(weights.ffn_norm, Vector(layer, kFfnNorm));
    KEYHOLE_ASSIGN_OR_RETURN(weights.gate_up,
                             Pack({Rows(layer, kGate, shard_.ffn), Rows(layer, kUp, shard_.ffn)}));
    KEYHOLE_ASSIGN_OR_RETURN(weights.down, Pack({Columns(layer, kDown, shard_.ffn)}));
    return weights;
  }

  absl::StatusOr<PackedLinear> PackOutput() {
    const WeightName& name = source_.config().tied_embeddings ? kTokenEmbedding : kOutput;
    return Pack({{std::string(name.name), "", shard_.vocab}});
  }

 private:
  absl::Status PackAttention(std::int64_t layer, LayerWeights& weights) {
    const ModelConfig& config = source_.config();
    const ShardRange heads = shard_.heads * config.head_dim;
    const ShardRange kv_heads = shard_.kv_heads * config.head_dim;
    StackPart q = Rows(layer, kQ, heads);
    StackPart k = Rows(layer, kK, kv_heads);
    StackPart v = Rows(layer, kV, kv_heads);
    if (config.qkv_bias) {
      q.bias = LayerWeight(layer, kQBias);
      k.bias = LayerWeight(layer, kKBias);
      v.bias = LayerWeight(layer, kVBias);
    }
    KEYHOLE_ASSIGN_OR_RETURN(weights.attn_norm, Vector(layer, kAttnNorm));
    KEYHOLE_ASSIGN_OR_RETURN(weights.qkv, Pack({std::move(q), std::move(k), std::move(v)}));
    KEYHOLE_ASSIGN_OR_RETURN(weights.o, Pack({Columns(layer, kO, heads)}));
    if (!config.qk_norm) return absl::OkStatus();
    KEYHOLE_ASSIGN_OR_RETURN(weights.q_norm, Vector(layer, kQNorm));
    KEYHOLE_ASSIGN_OR_RETURN(weights.k_norm, Vector(layer, kKNorm));
    return absl::OkStatus();
  }

  static StackPart Rows(std::int64_t layer, const WeightName& name, const ShardRange& rows) {
    return {LayerWeight(layer, name), "", rows};
  }

  static StackPart Columns(std::int64_t layer, const WeightName& name, const ShardRange& cols) {
    return {LayerWeight(layer, name), "", std::nullopt, cols};
  }

  absl::StatusOr<at::Tensor> Vector(std::int64_t layer, const WeightName& name) {
    return ReadVector(source_, LayerWeight(layer, name));
  }

  absl::StatusOr<PackedLinear> Pack(const std::vector<StackPart>& parts) {
    return PackStack(source_, parts, mode_, device_);
  }

  const WeightSource& source_;
  const ModelShard& shard_;
  WeightMode mode_;
  Device& device_;
};

}  // namespace

std::size_t WeightBytes(const ModelWeights& weights) {
  std::size_t bytes = weights.output.bytes();
  for (const LayerWeights& layer : weights.layers) {
    for (const PackedLinear* matrix : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      bytes += matrix->bytes();
    }
  }
  return bytes;
}

absl::StatusOr<ModelWeights> LoadWeights(const WeightSource& source,
                                         const ModelShard& shard,
                                         WeightMode mode,
                                         Device& device,
                                         const LoadProgress& progress) {
  const std::int64_t n_layers = source.config().n_layers;
  Packer packer(source, shard, mode, device);
  ModelWeights weights;
  KEYHOLE_ASSIGN_OR_RETURN(weights.output_norm, ReadVector(source, std::string(kOutputNorm.name)));
  KEYHOLE_ASSIGN_OR_RETURN(weights.output, packer.PackOutput());
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    KEYHOLE_ASSIGN_OR_RETURN(LayerWeights packed, packer.PackLayer(layer));
    weights.layers.push_back(std::move(packed));
    if (progress) progress(static_cast<double>(layer + 1) / static_cast<double>(n_layers));
  }
  return weights;
}

}  // namespace keyhole
