#include "engine/model/model_config.h"

#include <cmath>
#include <string_view>

#include "engine/model/file_error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

absl::Status InRange(std::string_view field, double value, double low, double high) {
  // Written so that NaN fails.
  if (value >= low && value <= high) return absl::OkStatus();
  return InvalidFile("{} is {}, outside [{}, {}]", field, value, low, high);
}

absl::Status ValidateSizes(const ModelConfig& config) {
  struct Bound {
    std::string_view field;
    std::int64_t value;
    std::int64_t high;
  };
  // Far above every published model, and low enough that products of three fit in 64 bits.
  const Bound bounds[] = {
      {"n_layers", config.n_layers, 1024},
      {"n_heads", config.n_heads, 1024},
      {"n_kv_heads", config.n_kv_heads, 1024},
      {"head_dim", config.head_dim, 1024},
      {"hidden_size", config.hidden_size, 1 << 18},
      {"ffn_size", config.ffn_size, 1 << 20},
      {"vocab_size", config.vocab_size, 1 << 22},
      {"trained_length", config.trained_length, 1 << 30},
  };
  for (const Bound& bound : bounds) {
    if (bound.value >= 1 && bound.value <= bound.high) continue;
    return InvalidFile("{} is {}, outside [1, {}]", bound.field, bound.value, bound.high);
  }
  if (config.n_heads % config.n_kv_heads != 0) {
    return InvalidFile(
        "n_heads ({}) is not a multiple of n_kv_heads ({})", config.n_heads, config.n_kv_heads);
  }
  if (config.head_dim % 2 != 0) {
    return InvalidFile("head_dim ({}) is odd", config.head_dim);
  }
  return absl::OkStatus();
}

absl::Status ValidateRope(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  KEYHOLE_RETURN_IF_ERROR(InRange("rope_theta", config.rope_theta, 1, 1e12));
  KEYHOLE_RETURN_IF_ERROR(InRange("rope scaling factor", scaling.factor, 1, 1e6));
  KEYHOLE_RETURN_IF_ERROR(InRange(
      "rope scaling original_length", static_cast<double>(scaling.original_length), 0, 1 << 30));
  KEYHOLE_RETURN_IF_ERROR(InRange("rope scaling beta_fast", scaling.beta_fast, 1e-3, 1e6));
  KEYHOLE_RETURN_IF_ERROR(InRange("rope scaling beta_slow", scaling.beta_slow, 1e-3, 1e6));
  KEYHOLE_RETURN_IF_ERROR(InRange("attention_factor", scaling.attention_factor, 0, 100));
  const bool needs_original =
      scaling.kind == RopeScalingKind::kYarn || scaling.kind == RopeScalingKind::kLlama3;
  if (needs_original && scaling.original_length == 0) {
    return InvalidFile("rope scaling needs the original context length");
  }
  if (scaling.kind == RopeScalingKind::kLlama3 &&
      !(scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor)) {
    return InvalidFile(
        "rope scaling low_freq_factor ({}) must lie between 0 and high_freq_factor ({})",
        scaling.low_freq_factor,
        scaling.high_freq_factor);
  }
  const auto& factors = config.rope_frequency_factors;
  if (!factors.empty() && static_cast<std::int64_t>(factors.size()) != config.head_dim / 2) {
    return InvalidFile(
        "rope_frequency_factors has {} values for head_dim {}", factors.size(), config.head_dim);
  }
  for (const float factor : factors) {
    KEYHOLE_RETURN_IF_ERROR(InRange("rope frequency factor", factor, 1e-6, 1e6));
  }
  return absl::OkStatus();
}

}  // namespace

std::string DescribeRope(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  // Of the factors, which the file alone can have, it is enough to know whether they are in use.
  std::string text = fmt::format("theta={} factors={} scaling={}",
                                 config.rope_theta,
                                 config.rope_frequency_factors.size(),
                                 RopeScalingName(scaling.kind));
  if (scaling.kind == RopeScalingKind::kNone) return text;
  text += fmt::format(":{} original={} low={} high={} fast={} slow={} attention={}",
                      scaling.factor,
                      scaling.original_length,
                      scaling.low_freq_factor,
                      scaling.high_freq_factor,
                      scaling.beta_fast,
                      scaling.beta_slow,
                      scaling.attention_factor);
  return text;
}

absl::Status Validate(const ModelConfig& config) {
  KEYHOLE_RETURN_IF_ERROR(ValidateSizes(config));
  KEYHOLE_RETURN_IF_ERROR(InRange("norm_eps", config.norm_eps, 0, 1));
  return ValidateRope(config);
}

}  // namespace keyhole
