#include "engine/tokenizer/tokenizer_json.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/status_macros.h"
#include "engine/tokenizer/json_access.h"
#include "engine/tokenizer/tokenizer_json_parts.h"
#include "engine/tokenizer/vocabulary.h"

namespace keyhole {
namespace {

using nlohmann::json;

absl::Status Invalid(const std::string& what) {
  return absl::InvalidArgumentError("tokenizer.json: " + what);
}

// Puts `text` at `id`, with unused places before it where the file leaves holes.
absl::Status Place(const std::string& text, TokenId id, TokenType type, TokenizerData* data) {
  if (static_cast<std::size_t>(id) >= data->tokens.size()) {
    data->tokens.resize(id + 1);
    data->types.resize(id + 1, kTokenUnused);
  }
  if (!data->tokens[id].empty() && data->tokens[id] != text) {
    return Invalid("id " + std::to_string(id) + " belongs to two tokens");
  }
  data->tokens[id] = text;
  data->types[id] = type;
  return absl::OkStatus();
}

absl::Status ReadVocabulary(const json& model, TokenizerData* data) {
  const json& vocabulary = Member(model, "vocab");
  if (!vocabulary.is_object()) return Invalid("model.vocab is not an object");
  const bool byte_fallback = BoolOr(model, "byte_fallback", false);
  for (const auto& [text, value] : vocabulary.items()) {
    KEYHOLE_ASSIGN_OR_RETURN(const TokenId id, TokenIdOf(value));
    const bool is_byte = byte_fallback && ByteTokenValue(text).has_value();
    KEYHOLE_RETURN_IF_ERROR(Place(text, id, is_byte ? kTokenByte : kTokenNormal, data));
  }
  return absl::OkStatus();
}

// A merge is "left right", or in newer files ["left", "right"].
absl::Status ReadMergeList(const json& model, TokenizerData* data) {
  const json& merges = Member(model, "merges");
  if (!merges.is_array()) return Invalid("model.merges is not a list");
  data->merges.reserve(merges.size());
  for (const json& merge : merges) {
    if (merge.is_string()) {
      data->merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      const auto& left = merge[0].get_ref<const std::string&>();
      if (left.find(' ') != left.npos) return Invalid("a token of a merge contains a space");
      data->merges.push_back(left + " " + merge[1].get_ref<const std::string&>());
    } else {
      return Invalid("a merge is neither a string nor a pair of strings");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadModel(const json& model, TokenizerData* data) {
  const std::string type = StringOr(model, "type", "BPE");
  if (type != "BPE") {
    return absl::UnimplementedError("tokenizer.json: model type " + type.substr(0, 64) +
                                    " is not supported (BPE is)");
  }
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!StringOr(model, affix, "").empty()) {
      return absl::UnimplementedError(std::string("tokenizer.json: ") + affix +
                                      " is not supported");
    }
  }
  KEYHOLE_RETURN_IF_ERROR(ReadVocabulary(model, data));
  KEYHOLE_RETURN_IF_ERROR(ReadMergeList(model, data));
  data->ignore_merges = BoolOr(model, "ignore_merges", false);
  data->fuse_unk = BoolOr(model, "fuse_unk", false);
  const json& unk = Member(model, "unk_token");
  if (unk.is_string()) {
    const json& id = Member(Member(model, "vocab"), unk.get_ref<const std::string&>().c_str());
    if (id.is_null()) return Invalid("the unknown token is not in the vocabulary");
    KEYHOLE_ASSIGN_OR_RETURN(data->unk, TokenIdOf(id));
    data->spelling_unk = data->unk;
  }
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const json& list, TokenizerData* data) {
  if (list.is_null()) return absl::OkStatus();
  if (!list.is_array()) return Invalid("added_tokens is not a list");
  for (const json& entry : list) {
    KEYHOLE_ASSIGN_OR_RETURN(const TokenId id, TokenIdOf(Member(entry, "id")));
    KEYHOLE_RETURN_IF_ERROR(AddToken(entry, id, data));
  }
  return absl::OkStatus();
}

// tokenizer_config.json names a token by its text, or by an object with its text.
std::string TokenText(const json& config, const char* key) {
  const json& value = Member(config, key);
  return value.is_object() ? StringOr(value, "content", "") : StringOr(config, key, "");
}

std::optional<TokenId> FindToken(const TokenizerData& data, const std::string& text) {
  if (text.empty()) return std::nullopt;
  for (std::size_t id = 0; id < data.tokens.size(); ++id) {
    if (data.tokens[id] == text) return static_cast<TokenId>(id);
  }
  return std::nullopt;
}

void ReadChatTemplate(const json& config, TokenizerData* data) {
  const json& value = Member(config, "chat_template");
  if (value.is_string()) data->chat_template = value.get<std::string>();
  if (!value.is_array()) return;
  for (const json& named : value) {
    if (StringOr(named, "name", "") == "default") {
      data->chat_template = StringOr(named, "template", "");
    }
  }
}

}  // namespace

absl::Status AddToken(const json& entry, TokenId id, TokenizerData* data) {
  AddedToken token;
  token.id = id;
  token.text = StringOr(entry, "content", "");
  token.special = BoolOr(entry, "special", false);
  token.lstrip = BoolOr(entry, "lstrip", false);
  token.rstrip = BoolOr(entry, "rstrip", false);
  token.single_word = BoolOr(entry, "single_word", false);
  token.normalized = BoolOr(entry, "normalized", !token.special);
  const std::size_t old_size = data->tokens.size();
  KEYHOLE_RETURN_IF_ERROR(
      Place(token.text, id, token.special ? kTokenControl : kTokenUserDefined, data));
  if (!data->scores.empty() && data->tokens.size() > old_size) {
    data->scores.resize(data->tokens.size(), 0.0F);
  }
  data->added_tokens.push_back(std::move(token));
  return absl::OkStatus();
}

absl::StatusOr<TokenizerData> ParseTokenizerJson(std::string_view text) {
  KEYHOLE_ASSIGN_OR_RETURN(const json file, ParseJson(text, "tokenizer.json"));
  TokenizerData data;
  data.add_bos = false;
  data.add_eos = false;
  KEYHOLE_RETURN_IF_ERROR(ReadModel(Member(file, "model"), &data));
  KEYHOLE_RETURN_IF_ERROR(ReadAddedTokens(Member(file, "added_tokens"), &data));
  KEYHOLE_RETURN_IF_ERROR(ReadTextRules(file, &data));
  KEYHOLE_RETURN_IF_ERROR(ReadPostProcessor(Member(file, "post_processor"), &data));
  return data;
}

absl::Status ParseTokenizerConfig(std::string_view text,
                                  bool with_added_tokens,
                                  TokenizerData* data) {
  KEYHOLE_ASSIGN_OR_RETURN(const json config, ParseJson(text, "tokenizer_config.json"));
  const json& added = Member(config, "added_tokens_decoder");
  if (with_added_tokens && added.is_object()) {
    for (const auto& [key, entry] : added.items()) {
      if (key.empty() || key.size() > 7 || key.find_first_not_of("0123456789") != key.npos) {
        return absl::InvalidArgumentError("tokenizer_config.json: an added token has no id");
      }
      const TokenId id = std::stoi(key);
      if (static_cast<std::size_t>(id) >= kMaxVocabularySize) return Invalid("an id is too large");
      // The pieces of the model file keep their own types.
      const bool in_model = static_cast<std::size_t>(id) < data->tokens.size();
      if (!in_model) KEYHOLE_RETURN_IF_ERROR(AddToken(entry, id, data));
    }
  }
  if (with_added_tokens) {
    const json& add_bos = Member(config, "add_bos_token");
    const json& add_eos = Member(config, "add_eos_token");
    if (add_bos.is_boolean()) data->add_bos = add_bos.get<bool>();
    if (add_eos.is_boolean()) data->add_eos = add_eos.get<bool>();
  }
  if (!data->bos) data->bos = FindToken(*data, TokenText(config, "bos_token"));
  if (!data->pad) data->pad = FindToken(*data, TokenText(config, "pad_token"));
  const std::optional<TokenId> eos = FindToken(*data, TokenText(config, "eos_token"));
  if (!data->eos) data->eos = eos;
  if (eos) data->more_end_tokens.push_back(*eos);
  ReadChatTemplate(config, data);
  return absl::OkStatus();
}

absl::Status ParseGenerationConfig(std::string_view text, TokenizerData* data) {
  KEYHOLE_ASSIGN_OR_RETURN(const json config, ParseJson(text, "generation_config.json"));
  const json& eos = Member(config, "eos_token_id");
  const json list = eos.is_array() ? eos : eos.is_null() ? json::array() : json::array({eos});
  for (const json& value : list) {
    KEYHOLE_ASSIGN_OR_RETURN(const TokenId id, TokenIdOf(value));
    data->more_end_tokens.push_back(id);
    if (!data->eos) data->eos = id;
  }
  return absl::OkStatus();
}

}  // namespace keyhole
