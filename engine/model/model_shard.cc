#include "engine/model/model_shard.h"

#include <fmt/format.h>

#include "absl/status/status.h"

namespace keyhole {
namespace {

// Borders between blocks of the widest encoding where it divides the FFN: quantised columns cannot
// be cut elsewhere. Blocks of 32 are also those that int8 products scale their inputs by. No
// encoding has the others.
std::int64_t FfnUnit(std::int64_t ffn_size, std::int64_t n_ranks) {
  for (const std::int64_t unit : {256, 32}) {
    if (ffn_size % unit == 0 && ffn_size / unit >= n_ranks) return unit;
  }
  return ffn_size % 32 == 0 ? 32 : 1;
}

}  // namespace

std::int64_t VocabWidth(std::int64_t vocab_size, std::int32_t n_ranks) {
  return (vocab_size + n_ranks - 1) / n_ranks;
}

absl::StatusOr<ModelShard> ShardModel(const ModelConfig& whole, const Shard& shard) {
  if (whole.n_kv_heads % shard.size != 0) {
    return absl::InvalidArgumentError(
        fmt::format("tensor-parallel-size {} does not divide the model's {} KV heads",
                    shard.size,
                    whole.n_kv_heads));
  }
  // Of every rank, so that all refuse.
  const std::int64_t unit = FfnUnit(whole.ffn_size, shard.size);
  const std::int64_t width = VocabWidth(whole.vocab_size, shard.size);
  if (!shard.whole() && ((whole.ffn_size + unit - 1) / unit < shard.size ||
                         (whole.vocab_size + width - 1) / width < shard.size)) {
    return absl::InvalidArgumentError(
        fmt::format("tensor-parallel-size {} is too many for an FFN of {} and a vocabulary of {}",
                    shard.size,
                    whole.ffn_size,
                    whole.vocab_size));
  }
  ModelShard part;
  part.shard = shard;
  part.kv_heads = Split(whole.n_kv_heads, 1, shard);
  part.heads = part.kv_heads * whole.group();
  part.ffn = Split(whole.ffn_size, unit, shard);
  part.vocab = Split(whole.vocab_size, width, shard);
  part.config = whole;
  part.config.n_heads = part.heads.size;
  part.config.n_kv_heads = part.kv_heads.size;
  part.config.ffn_size = part.ffn.size;
  return part;
}

}  // namespace keyhole
