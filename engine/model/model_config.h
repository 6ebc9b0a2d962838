// Sizes and numeric settings of a Llama-family model, as its file declares them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace keyhole {

enum class RopeScalingKind { kNone, kLinear, kNtk, kYarn, kLlama3 };

constexpr const char* RopeScalingName(RopeScalingKind kind) {
  switch (kind) {
    case RopeScalingKind::kNone:
      return "none";
    case RopeScalingKind::kLinear:
      return "linear";
    case RopeScalingKind::kNtk:
      return "ntk";
    case RopeScalingKind::kYarn:
      return "yarn";
    case RopeScalingKind::kLlama3:
      break;
  }
  return "llama3";
}

struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1;
  std::int64_t original_length = 0;  // trained length before scaling
  double low_freq_factor = 1;        // llama3
  double high_freq_factor = 4;       // llama3
  double beta_fast = 32;             // YaRN
  double beta_slow = 1;              // YaRN
  double attention_factor = 0;       // YaRN; 0: 0.1 ln(factor) + 1
};

struct ModelConfig {
  std::string architecture;  // "llama", "mistral", "qwen2", "qwen3"
  std::string name;
  std::int64_t n_layers = 0;
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t hidden_size = 0;
  std::int64_t ffn_size = 0;
  std::int64_t vocab_size = 0;
  std::int64_t trained_length = 0;  // tokens the model was trained for, its own scaling included
  double norm_eps = 1e-5;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  std::vector<float> rope_frequency_factors;  // [head_dim / 2] or empty; divides the frequencies
  bool own_rope = true;                       // none of these was replaced by hand
  bool qkv_bias = false;                      // Qwen2
  bool qk_norm = false;                       // Qwen3: RMS norm of each head of q and k before RoPE
  bool tied_embeddings = false;

  std::int64_t group() const { return n_heads / n_kv_heads; }
  std::int64_t q_size() const { return n_heads * head_dim; }
  std::int64_t kv_size() const { return n_kv_heads * head_dim; }
};

// All that the rotation of keys and queries depends on: two texts of one model file are equal where
// the rotations are.
std::string DescribeRope(const ModelConfig& config);

// Errors: INVALID_ARGUMENT with the field and both numbers, for sizes that are zero, beyond sane
// bounds or at odds.
absl::Status Validate(const ModelConfig& config);

}  // namespace keyhole
