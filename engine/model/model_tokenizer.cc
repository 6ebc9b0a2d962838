#include "engine/model/model_tokenizer.h"

#include <cstdint>
#include <utility>

#include "engine/model/file_error.h"
#include "engine/model/gguf_file.h"
#include "engine/model/gguf_tokenizer.h"
#include "engine/status_macros.h"
#include "engine/tokenizer/byte_level_alphabet.h"
#include "engine/tokenizer/tokenizer_loader.h"

namespace keyhole {
namespace {

absl::StatusOr<TokenizerData> ReadGguf(const std::string& path) {
  KEYHOLE_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  return ReadGgufTokenizer(file);
}

absl::StatusOr<TokenizerData> ByteTokenizer(std::int64_t vocab_size) {
  constexpr std::int64_t kNBytes = 256;
  if (vocab_size < kNBytes + 2) {
    return InvalidFile("a byte tokenizer needs {} ids, the model has {}", kNBytes + 2, vocab_size);
  }
  TokenizerData data;
  for (int byte = 0; byte < kNBytes; ++byte) {
    data.tokens.push_back(ByteLevelCharacter(static_cast<std::uint8_t>(byte)));
  }
  data.types.assign(kNBytes, kTokenNormal);
  for (const char* text : {"<s>", "</s>"}) {
    data.tokens.emplace_back(text);
    data.types.push_back(kTokenControl);
  }
  data.bos = static_cast<TokenId>(kNBytes);
  data.eos = static_cast<TokenId>(kNBytes + 1);
  data.add_bos = false;
  // The model can still produce its other ids: they need an entry each.
  for (std::int64_t id = kNBytes + 2; id < vocab_size; ++id) {
    data.tokens.push_back(fmt::format("<unused_{}>", id));
    data.types.push_back(kTokenUnused);
  }
  return data;
}

absl::StatusOr<TokenizerData> ReadOfKind(const WeightSource& source) {
  const TokenizerSource tokenizer = source.tokenizer();
  switch (tokenizer.kind) {
    case TokenizerSource::Kind::kGguf:
      return ReadGguf(tokenizer.path);
    case TokenizerSource::Kind::kHuggingFace:
      return ReadTokenizerDirectory(tokenizer.path);
    case TokenizerSource::Kind::kNone:
      return ByteTokenizer(source.config().vocab_size);
  }
  return absl::InternalError("unknown kind of tokenizer");
}

}  // namespace

absl::StatusOr<TokenizerData> ReadModelTokenizer(const WeightSource& source) {
  KEYHOLE_ASSIGN_OR_RETURN(TokenizerData data, ReadOfKind(source));
  const auto n_tokens = static_cast<std::int64_t>(data.tokens.size());
  if (n_tokens <= source.config().vocab_size) return data;
  return InvalidFile("the tokenizer has {} tokens, the model's embedding {} rows",
                     n_tokens,
                     source.config().vocab_size);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadModelTokenizer(const WeightSource& source) {
  KEYHOLE_ASSIGN_OR_RETURN(TokenizerData data, ReadModelTokenizer(source));
  return MakeTokenizer(std::move(data));
}

ChatTemplateSource ChatTemplateOf(const TokenizerData& data) {
  return {data.chat_template, SpecialTokenText(data, data.bos), SpecialTokenText(data, data.eos)};
}

}  // namespace keyhole
