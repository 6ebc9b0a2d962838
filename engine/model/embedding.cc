#include "engine/model/embedding.h"

#include <cstddef>

#include "engine/model/weight_names.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<TokenEmbedding> TokenEmbedding::Open(const WeightSource& source) {
  KEYHOLE_ASSIGN_OR_RETURN(const WeightView table, source.Get(weight_names::kTokenEmbedding.name));
  return TokenEmbedding(&source, table);
}

void TokenEmbedding::Lookup(std::span<const TokenId> tokens, std::span<float> out) const {
  const auto hidden = static_cast<std::size_t>(table_.n_cols);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::int64_t row = source_->RowOf(weight_names::kTokenEmbedding.name, tokens[i]);
    DequantizeRow(table_, row, out.subspan(i * hidden, hidden));
  }
}

}  // namespace keyhole
