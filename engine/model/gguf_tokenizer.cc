#include "engine/model/gguf_tokenizer.h"

#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/file_error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

std::string Key(std::string_view name) { return fmt::format("{}{}", kPrefix, name); }

absl::Status ReadStrings(const GgufMetadata& metadata,
                         std::string_view name,
                         std::vector<std::string>* out) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::vector<std::string_view> views, metadata.Strings(Key(name)));
  out->assign(views.begin(), views.end());
  return absl::OkStatus();
}

absl::Status ReadToken(const GgufMetadata& metadata,
                       std::string_view name,
                       std::optional<TokenId>* out) {
  if (!metadata.Has(Key(name))) return absl::OkStatus();
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t token, metadata.Int(Key(name)));
  // Writers use 0xFFFFFFFF for "none".
  if (token == std::numeric_limits<std::uint32_t>::max() || token == -1) return absl::OkStatus();
  if (token < 0 || token > std::numeric_limits<TokenId>::max()) {
    return InvalidFile("{} is {}", Key(name), token);
  }
  *out = static_cast<TokenId>(token);
  return absl::OkStatus();
}

absl::Status ReadFlag(const GgufMetadata& metadata,
                      std::string_view name,
                      std::optional<bool>* out) {
  if (!metadata.Has(Key(name))) return absl::OkStatus();
  KEYHOLE_ASSIGN_OR_RETURN(*out, metadata.Bool(Key(name)));
  return absl::OkStatus();
}

absl::Status ReadVocabulary(const GgufMetadata& metadata, TokenizerData* data) {
  KEYHOLE_RETURN_IF_ERROR(ReadStrings(metadata, "tokens", &data->tokens));
  if (metadata.Has(Key("token_type"))) {
    KEYHOLE_ASSIGN_OR_RETURN(data->types, metadata.Ints(Key("token_type")));
  }
  if (data->kind == TokenizerData::Kind::kSentencePiece) {
    KEYHOLE_ASSIGN_OR_RETURN(data->scores, metadata.Floats(Key("scores")));
    return absl::OkStatus();
  }
  return ReadStrings(metadata, "merges", &data->merges);
}

absl::Status ReadSettings(const GgufMetadata& metadata, TokenizerData* data) {
  KEYHOLE_RETURN_IF_ERROR(ReadToken(metadata, "bos_token_id", &data->bos));
  KEYHOLE_RETURN_IF_ERROR(ReadToken(metadata, "eos_token_id", &data->eos));
  KEYHOLE_RETURN_IF_ERROR(ReadToken(metadata, "eot_token_id", &data->eot));
  KEYHOLE_RETURN_IF_ERROR(ReadToken(metadata, "eom_token_id", &data->eom));
  KEYHOLE_RETURN_IF_ERROR(ReadToken(metadata, "unknown_token_id", &data->unk));
  KEYHOLE_RETURN_IF_ERROR(ReadToken(metadata, "padding_token_id", &data->pad));
  KEYHOLE_RETURN_IF_ERROR(ReadFlag(metadata, "add_bos_token", &data->add_bos));
  KEYHOLE_RETURN_IF_ERROR(ReadFlag(metadata, "add_eos_token", &data->add_eos));
  KEYHOLE_RETURN_IF_ERROR(ReadFlag(metadata, "add_space_prefix", &data->add_space_prefix));
  return ReadFlag(metadata, "remove_extra_whitespaces", &data->remove_extra_whitespaces);
}

}  // namespace

absl::StatusOr<TokenizerData> ReadGgufTokenizer(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  TokenizerData data;
  KEYHOLE_ASSIGN_OR_RETURN(const std::string_view model, metadata.StringOr(Key("model"), "none"));
  if (model == "llama") {
    data.kind = TokenizerData::Kind::kSentencePiece;
  } else if (model != "gpt2") {
    return Unsupported("tokenizer model \"{}\" is not supported (gpt2 and llama are)",
                       Printable(model));
  }
  if (const absl::Status status = ReadVocabulary(metadata, &data); !status.ok()) {
    return absl::InvalidArgumentError(status.message());
  }
  KEYHOLE_ASSIGN_OR_RETURN(const std::string_view pre, metadata.StringOr(Key("pre"), ""));
  data.pre = pre;
  KEYHOLE_ASSIGN_OR_RETURN(const std::string_view chat_template,
                           metadata.StringOr("tokenizer.chat_template", ""));
  data.chat_template = chat_template;
  KEYHOLE_RETURN_IF_ERROR(ReadSettings(metadata, &data));
  return data;
}

}  // namespace keyhole
