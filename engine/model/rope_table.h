// Angles of rotary position embedding for one model: base, scaling and per-frequency factors
// applied.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/model_config.h"
#include "engine/ops/rope.h"

namespace keyhole {

// Computed in f64, kept as f32. Sources: linear (arXiv 2306.15595), NTK-aware base change, YaRN
// (arXiv 2309.00071), and the piecewise scaling of Llama 3.1. Thread: immutable after construction.
class RopeTable {
 public:
  RopeTable(const ModelConfig& config, std::int64_t n_positions);

  std::int64_t n_positions() const { return n_positions_; }
  std::int32_t head_dim() const { return 2 * half_; }
  // Row p: position p.
  RopeRows rows() const { return {cos_.data(), sin_.data(), attention_factor_}; }
  float attention_factor() const { return attention_factor_; }  // YaRN; 1 otherwise

 private:
  std::int64_t n_positions_;
  std::int32_t half_;
  float attention_factor_ = 1;
  std::vector<float> cos_;  // [n_positions, head_dim / 2]
  std::vector<float> sin_;
};

}  // namespace keyhole
