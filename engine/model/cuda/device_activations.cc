#include "engine/model/cuda/device_activations.h"

#include <algorithm>
#include <bit>

#include "engine/device/device_error.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {
namespace {

std::int64_t Ceil(std::int64_t n) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n)));
}

// Counts bytes where it has no memory yet.
class Cutter {
 public:
  explicit Cutter(std::byte* base) : base_(base) {}

  template <typename T>
  void Cut(T*& array, std::int64_t n) {
    if (base_ != nullptr) array = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += Workspace::Block::Bytes(static_cast<std::size_t>(n), sizeof(T));
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* base_;
  std::size_t bytes_ = 0;
};

std::size_t CutAll(const ModelShard& shard,
                   std::int64_t n,
                   std::int64_t n_logits,
                   std::byte* base,
                   DeviceActivations& rows) {
  const ModelConfig& config = shard.config;
  Cutter cutter(base);
  cutter.Cut(rows.hidden, n * config.hidden_size);
  cutter.Cut(rows.normed, std::max(n, n_logits) * config.hidden_size);
  cutter.Cut(rows.q, n * (config.q_size() + 2 * config.kv_size()));
  cutter.Cut(rows.attended, n * config.q_size());
  cutter.Cut(rows.gate_up, n * 2 * config.ffn_size);
  cutter.Cut(rows.gated, n * config.ffn_size);
  cutter.Cut(rows.last, n_logits * config.hidden_size);
  cutter.Cut(rows.logits, n_logits * config.vocab_size);
  cutter.Cut(rows.tokens, n_logits);
  if (shard.shard.whole()) return cutter.bytes();
  const std::int64_t n_ranks = shard.shard.size;
  const std::int64_t width = VocabWidth(config.vocab_size, shard.shard.size);
  cutter.Cut(rows.partial, n * config.hidden_size);
  cutter.Cut(rows.gathered,
             n_ranks * std::max(n * (config.q_size() + config.kv_size()), n_logits * width));
  cutter.Cut(rows.all_q, n_ranks * n * config.q_size());
  cutter.Cut(rows.all_k, n_ranks * n * config.kv_size());
  cutter.Cut(rows.part_logits, n_logits * width);
  return cutter.bytes();
}

}  // namespace

std::size_t DeviceActivationMemory::Bytes(const ModelShard& shard,
                                          std::int64_t n,
                                          std::int64_t n_logits) {
  DeviceActivations rows;
  return CutAll(shard, Ceil(n), Ceil(n_logits), nullptr, rows);
}

DeviceActivations DeviceActivationMemory::Rows(std::int64_t n, std::int64_t n_logits) {
  if (n > n_rows_ || n_logits > n_logits_) Grow(n, n_logits);
  DeviceActivations rows = rows_;
  rows.k = rows.q + n * shard_.config.q_size();
  rows.v = rows.k + n * shard_.config.kv_size();
  return rows;
}

void DeviceActivationMemory::Grow(std::int64_t n, std::int64_t n_logits) {
  n_rows_ = std::max(n_rows_, Ceil(n));
  n_logits_ = std::max(n_logits_, Ceil(n_logits));
  const std::size_t bytes = CutAll(shard_, n_rows_, n_logits_, nullptr, rows_);
  memory_ = DeviceBuffer();
  absl::StatusOr<DeviceBuffer> memory = DeviceBuffer::Allocate(stream_, bytes);
  if (!memory.ok()) n_rows_ = n_logits_ = 0;
  ThrowIfFailed(memory.status());
  memory_ = *std::move(memory);
  CutAll(shard_, n_rows_, n_logits_, memory_.data(), rows_);
}

}  // namespace keyhole::cuda
