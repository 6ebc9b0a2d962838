// One rank's part of a model: which heads, FFN columns and vocabulary rows it holds.
#pragma once

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "engine/parallel/shard.h"

namespace keyhole {

// Query heads stay with their KV head. q, k, v, gate, up and the output matrix are split by rows, o
// and down by columns; embeddings and norms are whole on every rank.
struct ModelShard {
  Shard shard;
  ModelConfig config;  // heads and ffn_size are those of this part, all else is the model's
  ShardRange heads;
  ShardRange kv_heads;
  ShardRange ffn;
  ShardRange vocab;  // rows of the output matrix: VocabWidth, of the last rank the rest
};

// Rows of the output matrix that a rank holds.
std::int64_t VocabWidth(std::int64_t vocab_size, std::int32_t n_ranks);

// Errors: INVALID_ARGUMENT where the KV heads do not divide among the ranks, or a rank would get
// nothing of the FFN or the vocabulary.
absl::StatusOr<ModelShard> ShardModel(const ModelConfig& whole, const Shard& shard);

}  // namespace keyhole
