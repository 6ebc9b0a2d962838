#include <utility>

#include "engine/tokenizer/byte_level_bpe.h"
#include "engine/tokenizer/spm_bpe.h"
#include "engine/tokenizer/tokenizer_data.h"
#include "engine/tokenizer/vocab_tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

namespace keyhole {
namespace {

// GGUF writers put -1 where a model has no such token.
void ForgetAbsentIds(TokenizerData* data) {
  for (std::optional<TokenId>* id :
       {&data->bos, &data->eos, &data->eot, &data->eom, &data->unk, &data->pad}) {
    if (*id == -1) id->reset();
  }
}

template <typename Encoder>
absl::StatusOr<std::unique_ptr<Tokenizer>> Make(const TokenizerData& data,
                                                const VocabularyIndex& index) {
  absl::StatusOr<std::unique_ptr<Encoder>> encoder = Encoder::Create(data, index);
  if (!encoder.ok()) return encoder.status();
  return VocabTokenizer::Create(data, *std::move(encoder));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerData data) {
  ForgetAbsentIds(&data);
  absl::Status status = CheckTokenizerData(data);
  if (!status.ok()) return status;
  absl::StatusOr<VocabularyIndex> index = IndexVocabulary(data);
  if (!index.ok()) return index.status();
  return data.kind == TokenizerData::Kind::kByteLevelBpe ? Make<ByteLevelBpe>(data, *index)
                                                         : Make<SpmBpe>(data, *index);
}

std::string SpecialTokenText(const TokenizerData& data, std::optional<TokenId> id) {
  if (!id || *id < 0 || *id >= static_cast<TokenId>(data.tokens.size())) return {};
  return data.tokens[*id];
}

}  // namespace keyhole
