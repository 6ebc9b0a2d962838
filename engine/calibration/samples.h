// Keeps the queries and keys of some tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/calibration/activation_sink.h"
#include "engine/model/model_config.h"

namespace keyhole {

// Tokens begin, begin + step, ... below end, counted over the whole text.
struct TokenChoice {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t step = 1;

  bool Has(std::int64_t token) const {
    return token >= begin && token < end && (token - begin) % step == 0;
  }
};

// In the order of the text, un-rotated.
struct LayerSample {
  std::vector<float> queries;  // [n_queries, n_heads, head_dim]
  std::vector<float> keys;     // [n_keys, n_kv_heads, head_dim]
};

// Owner: the caller. Thread: executor only. Throws std::bad_alloc where memory is short.
class SampleRecorder final : public ActivationSink {
 public:
  SampleRecorder(const ModelConfig& config, const TokenChoice& queries, const TokenChoice& keys);

  void OnQueries(Device& device, const ActivationRows& queries) override;
  void OnKeys(Device& device, const ActivationRows& keys) override;

  const LayerSample& Layer(std::int32_t layer) const { return layers_[layer]; }

 private:
  std::int64_t q_size_;
  std::int64_t kv_size_;
  TokenChoice queries_;
  TokenChoice keys_;
  std::vector<LayerSample> layers_;
};

}  // namespace keyhole
