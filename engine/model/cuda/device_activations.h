// Intermediate results of a forward pass in device memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/device/device_buffer.h"
#include "engine/device/stream.h"
#include "engine/model/model_shard.h"

namespace keyhole::cuda {

// By rows; [n, ...]. q, k and v follow each other without a gap: ranks send q and k at once, and of
// a single row all three are one product's. Plain data.
struct DeviceActivations {
  float* hidden = nullptr;            // [n, hidden_size]
  std::uint16_t* normed = nullptr;    // [n, hidden_size]
  float* q = nullptr;                 // [n, n_heads, head_dim]
  float* k = nullptr;                 // [n, n_kv_heads, head_dim]
  float* v = nullptr;                 // the same
  std::uint16_t* attended = nullptr;  // [n, n_heads * head_dim]
  float* gate_up = nullptr;           // [n, 2 * ffn_size]
  std::uint16_t* gated = nullptr;     // [n, ffn_size]
  float* last = nullptr;              // [n_logits, hidden_size]
  float* logits = nullptr;            // [n_logits, vocab_size]
  std::int32_t* tokens = nullptr;     // [n_logits]: of the largest logits
  // With several ranks.
  float* partial = nullptr;      // [n, hidden_size]: this rank's part of a sum over ranks
  float* gathered = nullptr;     // what ranks have sent, one after the other
  float* all_q = nullptr;        // [n, all heads, head_dim]
  float* all_k = nullptr;        // [n, all KV heads, head_dim]
  float* part_logits = nullptr;  // [n_logits, VocabWidth]

  bool operator==(const DeviceActivations&) const = default;
};

// Memory that grows to the largest step so far, by powers of two, so that steps of about one size
// find it where it was. Owner: the model. Thread: executor only. REQUIRES: the stream outlives it.
class DeviceActivationMemory {
 public:
  DeviceActivationMemory(const Stream& stream, const ModelShard& shard)
      : stream_(stream), shard_(shard) {}

  // Of steps of so many rows.
  static std::size_t Bytes(const ModelShard& shard, std::int64_t n, std::int64_t n_logits);

  // Valid until the next call. Throws DeviceError.
  DeviceActivations Rows(std::int64_t n, std::int64_t n_logits);

 private:
  void Grow(std::int64_t n, std::int64_t n_logits);

  const Stream& stream_;
  ModelShard shard_;
  DeviceBuffer memory_;
  DeviceActivations rows_;
  std::int64_t n_rows_ = 0;
  std::int64_t n_logits_ = 0;
};

}  // namespace keyhole::cuda
