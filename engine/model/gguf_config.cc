#include "engine/model/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/file_error.h"
#include "engine/model/weight_names.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::string_view kArchitectures[] = {"llama", "qwen2", "qwen3"};
constexpr std::string_view kRopeFactors = "rope_freqs.weight";

// Keys under the architecture's prefix.
class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufMetadata& metadata, std::string_view architecture)
      : metadata_(metadata), prefix_(fmt::format("{}.", architecture)) {}

  std::string Full(std::string_view key) const { return fmt::format("{}{}", prefix_, key); }
  bool Has(std::string_view key) const { return metadata_.Has(Full(key)); }

  // A required integer; absence is the file's fault, not a question that had no answer.
  absl::StatusOr<std::int64_t> Int(std::string_view key) const {
    if (!Has(key)) return Missing(key);
    return metadata_.Int(Full(key));
  }
  absl::StatusOr<double> Float(std::string_view key) const {
    if (!Has(key)) return Missing(key);
    return metadata_.Float(Full(key));
  }
  absl::StatusOr<std::int64_t> IntOr(std::string_view key, std::int64_t fallback) const {
    return metadata_.IntOr(Full(key), fallback);
  }
  absl::StatusOr<double> FloatOr(std::string_view key, double fallback) const {
    return metadata_.FloatOr(Full(key), fallback);
  }
  absl::StatusOr<std::string_view> StringOr(std::string_view key, std::string_view other) const {
    return metadata_.StringOr(Full(key), other);
  }

 private:
  absl::Status Missing(std::string_view key) const {
    return InvalidFile("the GGUF file has no key {}", Full(key));
  }

  const GgufMetadata& metadata_;
  std::string prefix_;
};

absl::StatusOr<std::string> ReadArchitecture(const GgufMetadata& metadata) {
  const auto architecture = metadata.String("general.architecture");
  if (!architecture.ok()) return InvalidFile("{}", std::string(architecture.status().message()));
  if (std::ranges::find(kArchitectures, *architecture) != std::end(kArchitectures)) {
    return std::string(*architecture);
  }
  return Unsupported("architecture \"{}\" is not supported (llama, qwen2 and qwen3 are)",
                     Printable(*architecture));
}

absl::Status RefuseFeatures(const GgufMetadata& metadata,
                            const ArchitectureKeys& keys,
                            std::int64_t trained_length) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t n_parts, metadata.IntOr("split.count", 1));
  if (n_parts > 1) {
    return Unsupported("the GGUF model is split into {} files: merge them first", n_parts);
  }
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t window, keys.IntOr("attention.sliding_window", 0));
  if (window > 0 && window < trained_length) {
    return Unsupported("sliding-window attention ({} = {}) is not supported",
                       keys.Full("attention.sliding_window"),
                       window);
  }
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t n_experts, keys.IntOr("expert_count", 0));
  if (n_experts > 0) {
    return Unsupported(
        "mixtures of experts ({} = {}) are not supported", keys.Full("expert_count"), n_experts);
  }
  constexpr std::string_view kRefused[] = {"attn_logit_softcapping",
                                           "final_logit_softcapping",
                                           "router_logit_softcapping",
                                           "logit_scale",
                                           "residual_scale",
                                           "embedding_scale",
                                           "attention.scale",
                                           "attention.max_alibi_bias",
                                           "attention.clamp_kqv",
                                           "rope.dimension_sections"};
  for (const std::string_view key : kRefused) {
    if (!keys.Has(key)) continue;
    return Unsupported("{} is not supported", keys.Full(key));
  }
  return absl::OkStatus();
}

absl::Status ReadHeads(const ArchitectureKeys& keys, ModelConfig* config) {
  KEYHOLE_ASSIGN_OR_RETURN(config->n_heads, keys.Int("attention.head_count"));
  KEYHOLE_ASSIGN_OR_RETURN(config->n_kv_heads,
                           keys.IntOr("attention.head_count_kv", config->n_heads));
  const std::int64_t per_head = config->n_heads > 0 ? config->hidden_size / config->n_heads : 0;
  KEYHOLE_ASSIGN_OR_RETURN(config->head_dim, keys.IntOr("attention.key_length", per_head));
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t value_dim,
                           keys.IntOr("attention.value_length", config->head_dim));
  if (value_dim != config->head_dim) {
    return Unsupported(
        "keys of {} and values of {} dimensions are not supported", config->head_dim, value_dim);
  }
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t rotated,
                           keys.IntOr("rope.dimension_count", config->head_dim));
  if (rotated == config->head_dim) return absl::OkStatus();
  return Unsupported(
      "rotation of {} of {} dimensions of a head is not supported", rotated, config->head_dim);
}

absl::Status ReadYarn(const ArchitectureKeys& keys, RopeScaling* scaling) {
  KEYHOLE_ASSIGN_OR_RETURN(const double extrapolation,
                           keys.FloatOr("rope.scaling.yarn_ext_factor", 1));
  if (extrapolation != 1 && extrapolation != -1) {  // -1: not set
    return Unsupported(
        "{} of {} is not supported", keys.Full("rope.scaling.yarn_ext_factor"), extrapolation);
  }
  // ggml multiplies its attn_factor into YaRN's own 0.1 ln(factor) + 1.
  KEYHOLE_ASSIGN_OR_RETURN(double extra, keys.FloatOr("rope.scaling.attn_factor", 1));
  KEYHOLE_ASSIGN_OR_RETURN(extra, keys.FloatOr("rope.scaling.yarn_attn_factor", extra));
  if (extra != 1) scaling->attention_factor = extra * (0.1 * std::log(scaling->factor) + 1);
  KEYHOLE_ASSIGN_OR_RETURN(scaling->beta_fast,
                           keys.FloatOr("rope.scaling.yarn_beta_fast", scaling->beta_fast));
  KEYHOLE_ASSIGN_OR_RETURN(scaling->beta_slow,
                           keys.FloatOr("rope.scaling.yarn_beta_slow", scaling->beta_slow));
  return absl::OkStatus();
}

absl::Status ReadRopeScaling(const ArchitectureKeys& keys, ModelConfig* config) {
  RopeScaling& scaling = config->rope_scaling;
  KEYHOLE_ASSIGN_OR_RETURN(const double legacy, keys.FloatOr("rope.scale_linear", 1));
  const std::string_view implied = legacy != 1 ? "linear" : "none";
  KEYHOLE_ASSIGN_OR_RETURN(const std::string_view type,
                           keys.StringOr("rope.scaling.type", implied));
  if (type == "none") return absl::OkStatus();
  KEYHOLE_ASSIGN_OR_RETURN(scaling.factor, keys.FloatOr("rope.scaling.factor", legacy));
  KEYHOLE_ASSIGN_OR_RETURN(
      scaling.original_length,
      keys.IntOr("rope.scaling.original_context_length", config->trained_length));
  if (type == "linear") {
    scaling.kind = RopeScalingKind::kLinear;
    return absl::OkStatus();
  }
  if (type == "yarn") {
    scaling.kind = RopeScalingKind::kYarn;
    return ReadYarn(keys, &scaling);
  }
  return Unsupported("{} \"{}\" is not supported (linear and yarn are)",
                     keys.Full("rope.scaling.type"),
                     Printable(type));
}

// Llama 3's scaling comes as one divisor per frequency.
absl::Status ReadFrequencyFactors(const GgufFile& file, ModelConfig* config) {
  const GgufTensor* tensor = file.Find(kRopeFactors);
  if (tensor == nullptr) return absl::OkStatus();
  if (tensor->type != WeightType::kF32 || tensor->n_dims != 1) {
    return InvalidFile("{} is not a vector of F32", kRopeFactors);
  }
  if (tensor->dims[0] != config->head_dim / 2) {
    return InvalidFile(
        "{} has {} values for head_dim {}", kRopeFactors, tensor->dims[0], config->head_dim);
  }
  config->rope_frequency_factors.resize(static_cast<std::size_t>(tensor->dims[0]));
  const WeightView view = {tensor->type, 1, tensor->dims[0], tensor->bytes};
  DequantizeRow(view, 0, config->rope_frequency_factors);
  return absl::OkStatus();
}

// Biases, norms and a separate output are declared by being there.
absl::Status ReadOptionalTensors(const GgufFile& file, ModelConfig* config) {
  const GgufTensor* embedding = file.Find(weight_names::kTokenEmbedding.gguf);
  if (embedding == nullptr) {
    return InvalidFile("the GGUF file has no tensor {}", weight_names::kTokenEmbedding.gguf);
  }
  config->vocab_size = embedding->dims[1];
  config->tied_embeddings = file.Find(weight_names::kOutput.gguf) == nullptr;
  const auto in_first_layer = [&file](const WeightName& name) {
    return file.Find(fmt::format("blk.0.{}", name.gguf)) != nullptr;
  };
  config->qkv_bias = in_first_layer(weight_names::kQBias);
  config->qk_norm = in_first_layer(weight_names::kQNorm);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  ModelConfig config;
  KEYHOLE_ASSIGN_OR_RETURN(config.architecture, ReadArchitecture(metadata));
  KEYHOLE_ASSIGN_OR_RETURN(const std::string_view name, metadata.StringOr("general.name", ""));
  config.name = Printable(name);
  const ArchitectureKeys keys(metadata, config.architecture);
  KEYHOLE_ASSIGN_OR_RETURN(config.trained_length, keys.Int("context_length"));
  KEYHOLE_RETURN_IF_ERROR(RefuseFeatures(metadata, keys, config.trained_length));
  KEYHOLE_ASSIGN_OR_RETURN(config.n_layers, keys.Int("block_count"));
  KEYHOLE_ASSIGN_OR_RETURN(config.hidden_size, keys.Int("embedding_length"));
  KEYHOLE_ASSIGN_OR_RETURN(config.ffn_size, keys.Int("feed_forward_length"));
  KEYHOLE_ASSIGN_OR_RETURN(config.norm_eps, keys.Float("attention.layer_norm_rms_epsilon"));
  KEYHOLE_ASSIGN_OR_RETURN(config.rope_theta, keys.FloatOr("rope.freq_base", 10000));
  KEYHOLE_RETURN_IF_ERROR(ReadHeads(keys, &config));
  KEYHOLE_RETURN_IF_ERROR(ReadRopeScaling(keys, &config));
  KEYHOLE_RETURN_IF_ERROR(ReadFrequencyFactors(file, &config));
  KEYHOLE_RETURN_IF_ERROR(ReadOptionalTensors(file, &config));
  return config;
}

}  // namespace keyhole
