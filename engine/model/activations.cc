#include "engine/model/activations.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace keyhole {
namespace {

// The first n rows of `buffer`, which grows where it is too small.
at::Tensor FirstRows(at::Tensor& buffer, std::int64_t n, std::int64_t n_columns) {
  if (!buffer.defined() || buffer.size(0) < n) {
    const std::int64_t grown = buffer.defined() ? buffer.size(0) * 3 / 2 : 0;
    buffer = at::empty({std::max(n, grown), n_columns}, at::kFloat);
  }
  return buffer.narrow(0, 0, n);
}

}  // namespace

Activations ActivationBuffers::Rows(std::int64_t n) {
  return {FirstRows(rows_.hidden, n, config_.hidden_size),
          FirstRows(rows_.normed, n, config_.hidden_size),
          FirstRows(rows_.attended, n, config_.q_size()),
          FirstRows(rows_.gate_up, n, 2 * config_.ffn_size),
          FirstRows(rows_.gated, n, config_.ffn_size)};
}

Projections ActivationBuffers::ProjectionRows(std::int64_t n) {
  const std::int64_t q_size = config_.q_size();
  const std::int64_t kv_size = config_.kv_size();
  const std::int64_t width = q_size + 2 * kv_size;
  Projections views;
  views.qkv = FirstRows(projections_.qkv, n, width);
  // The same memory row by row with one row, part by part with more: q of all rows, then k, then v.
  const at::Tensor parts = (n == 1 ? views.qkv : FirstRows(split_, n, width)).view({n * width});
  views.q = parts.narrow(0, 0, n * q_size).view({n, config_.n_heads, config_.head_dim});
  views.k =
      parts.narrow(0, n * q_size, n * kv_size).view({n, config_.n_kv_heads, config_.head_dim});
  views.v = parts.narrow(0, n * (q_size + kv_size), n * kv_size)
                .view({n, config_.n_kv_heads, config_.head_dim});
  views.qk = parts.narrow(0, 0, n * (q_size + kv_size));
  return views;
}

at::Tensor ActivationBuffers::Logits(std::int64_t n, std::int64_t n_columns) {
  // Steps that score a stretch of a prompt are rare and need much: they give their memory back.
  constexpr std::int64_t kMostKept = 64;
  if (n > kMostKept) return at::empty({n, n_columns}, at::kFloat);
  return FirstRows(logits_, n, n_columns);
}

}  // namespace keyhole
