// Intermediate results of a forward pass, kept from step to step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/model/model_config.h"

namespace keyhole {

// Contiguous f32 views of n rows each.
struct Activations {
  at::Tensor hidden;    // [n, hidden_size]
  at::Tensor normed;    // [n, hidden_size]; also what a block adds to hidden
  at::Tensor attended;  // [n, n_heads * head_dim]
  at::Tensor gate_up;   // [n, 2 * ffn_size]
  at::Tensor gated;     // [n, ffn_size]
};

// Inputs of attention. With one row, q, k and v lie inside qkv.
struct Projections {
  at::Tensor qkv;  // [n, q_size + 2 * kv_size]
  at::Tensor q;    // [n, n_heads, head_dim]
  at::Tensor k;    // [n, n_kv_heads, head_dim]
  at::Tensor v;    // the same shape
  at::Tensor qk;   // q and k as one vector, q of all rows first
};

// Memory that grows to the largest step so far. A view is valid until the next call of the same
// function. Owner: the model. Thread: executor only.
class ActivationBuffers {
 public:
  explicit ActivationBuffers(const ModelConfig& config) : config_(config) {}

  Activations Rows(std::int64_t n);
  Projections ProjectionRows(std::int64_t n);
  at::Tensor Logits(std::int64_t n, std::int64_t n_columns);

 private:
  ModelConfig config_;
  Activations rows_;
  Projections projections_;
  at::Tensor logits_;
  at::Tensor split_;  // memory of q, k and v for more than one row
};

}  // namespace keyhole
