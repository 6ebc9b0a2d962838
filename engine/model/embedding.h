// Token embeddings, decoded on lookup from the mapped model file.
#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "engine/model/weight_source.h"
#include "engine/types.h"

namespace keyhole {

// Keeps no copy of the table: a step reads a few rows, and the file stays mapped for as long as the
// source lives. Thread: immutable after Open.
class TokenEmbedding {
 public:
  // `source` must outlive the object. Errors: those of WeightSource::Get.
  static absl::StatusOr<TokenEmbedding> Open(const WeightSource& source);

  // out [tokens.size(), hidden_size]. REQUIRES: every token is in the vocabulary.
  void Lookup(std::span<const TokenId> tokens, std::span<float> out) const;

  std::int64_t vocab_size() const { return table_.n_rows; }

 private:
  TokenEmbedding(const WeightSource* source, const WeightView& table)
      : source_(source), table_(table) {}

  const WeightSource* source_;
  WeightView table_;  // [vocab_size, hidden_size]
};

}  // namespace keyhole
