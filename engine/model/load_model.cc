#include "engine/model/load_model.h"

#include <fmt/format.h>

#include <utility>

#include "absl/status/status.h"
#include "engine/model/embedding.h"
#include "engine/model/llama.h"
#include "engine/model/model_weights.h"
#include "engine/model/rope_table.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

absl::Status CheckLayout(const ModelConfig& config, const KvLayout& layout) {
  if (layout.n_layers == config.n_layers && layout.n_kv_heads == config.n_kv_heads &&
      layout.head_dim == config.head_dim) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("KV pages of {} layers with {} heads of {} do not fit a model of {} layers with "
                  "{} heads of {}",
                  layout.n_layers,
                  layout.n_kv_heads,
                  layout.head_dim,
                  config.n_layers,
                  config.n_kv_heads,
                  config.head_dim));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> LoadModel(ModelParts parts) {
  const ModelConfig& config = parts.source->config();
  LlamaParts llama;
  KEYHOLE_ASSIGN_OR_RETURN(
      llama.shard, ShardModel(config, parts.group == nullptr ? Shard() : parts.group->shard()));
  KEYHOLE_RETURN_IF_ERROR(CheckLayout(llama.shard.config, parts.store->layout()));
  KEYHOLE_ASSIGN_OR_RETURN(const TokenEmbedding embedding, TokenEmbedding::Open(*parts.source));
  llama.device = parts.device;
  if (parts.group != nullptr) {
    llama.ranks = std::make_unique<TensorParallel>(parts.group, config);
  }
  KEYHOLE_ASSIGN_OR_RETURN(
      llama.weights,
      LoadWeights(*parts.source, llama.shard, parts.weights, *parts.device, parts.progress));
  llama.rope = parts.rope != nullptr ? std::move(parts.rope)
                                     : std::make_unique<const RopeTable>(config, parts.max_context);
  llama.attention = std::make_unique<SelectiveAttention>(AttentionHeads(llama.shard.config, config),
                                                         parts.attention,
                                                         llama.rope->rows(),
                                                         parts.store,
                                                         std::move(parts.policy));
  llama.source = std::move(parts.source);
  return std::make_unique<Llama>(std::move(llama), embedding);
}

}  // namespace keyhole
