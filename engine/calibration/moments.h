// Second moments of queries and keys: all that the closed form needs to know of a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/calibration/activation_sink.h"
#include "engine/model/model_config.h"
#include "engine/ops/rotate_head.h"

namespace keyhole {

// Uncentred, [n_groups, dim, dim] each, in f64.
struct FormMoments {
  std::int32_t n_groups = 0;  // 0: the form is left out
  std::int32_t dim = 0;
  std::vector<double> query;
  std::vector<double> key;
};

struct LayerMoments {
  FormMoments per_kv_head;   // the query heads of a group are pooled
  FormMoments concatenated;  // the queries of a group are summed
};

// Bytes of one form of all layers.
std::size_t MomentBytes(const ModelConfig& config, bool concatenated);

// Owner: the caller. Thread: executor only. Throws std::bad_alloc where memory is short.
class MomentRecorder final : public ActivationSink {
 public:
  // Queries are turned to `to`, whose table outlives this object.
  MomentRecorder(const ModelConfig& config, const Rotation& to, bool concatenated);

  void OnQueries(Device& device, const ActivationRows& queries) override;
  void OnKeys(Device& device, const ActivationRows& keys) override;

  // Means over the tokens seen so far.
  LayerMoments Layer(std::int32_t layer) const;

 private:
  struct Gram;

  void AddAll(Device& device, std::int64_t n_tokens, const std::vector<Gram>& grams) const;

  std::int32_t n_heads_;
  std::int32_t n_kv_heads_;
  std::int32_t head_dim_;
  Rotation to_;
  std::vector<LayerMoments> sums_;
  std::vector<std::int64_t> n_tokens_;  // by layer

  // Of the running chunk.
  std::vector<double> rows_;    // [n_tokens, heads, head_dim]
  std::vector<double> summed_;  // [n_tokens, n_kv_heads, head_dim]
};

}  // namespace keyhole
