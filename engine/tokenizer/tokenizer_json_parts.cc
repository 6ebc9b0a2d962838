#include "engine/tokenizer/tokenizer_json_parts.h"

#include <string>
#include <vector>

#include "engine/status_macros.h"
#include "engine/tokenizer/json_access.h"
#include "engine/tokenizer/pre_tokenizer.h"

namespace keyhole {
namespace {

using nlohmann::json;

constexpr std::string_view kSpaceMark = "\u2581";

absl::Status Unsupported(const std::string& what) {
  return absl::UnimplementedError("tokenizer.json: " + what + " is not supported");
}

std::string TypeName(const json& part) { return StringOr(part, "type", "?").substr(0, 64); }

// The parts of a "Sequence", or the part itself; empty for null. Sequences in sequences are taken
// apart too.
void Flatten(const json& part, const char* list_key, std::vector<const json*>* out) {
  if (part.is_null()) return;
  const json& list = Member(part, list_key);
  if (TypeName(part) != "Sequence" || !list.is_array()) {
    out->push_back(&part);
    return;
  }
  for (const json& inner : list) Flatten(inner, list_key, out);
}

std::vector<const json*> Parts(const json& part, const char* list_key) {
  std::vector<const json*> out;
  Flatten(part, list_key, &out);
  return out;
}

// What the normalizer says, before it is known which kind of model it belongs to.
struct NormalizerRules {
  bool nfc = false;
  bool prepends_mark = false;
  bool marks_spaces = false;
};

absl::StatusOr<NormalizerRules> ReadNormalizer(const json& normalizer) {
  NormalizerRules rules;
  for (const json* part : Parts(normalizer, "normalizers")) {
    const std::string type = TypeName(*part);
    if (type == "NFC") {
      rules.nfc = true;
    } else if (type == "Prepend" && StringOr(*part, "prepend", "") == kSpaceMark) {
      rules.prepends_mark = true;
    } else if (type == "Replace" && StringOr(*part, "content", "") == kSpaceMark &&
               StringOr(Member(*part, "pattern"), "String", "") == " ") {
      rules.marks_spaces = true;
    } else {
      return Unsupported("normalizer " + type);
    }
  }
  return rules;
}

// Metaspace: spaces become U+2581, and one goes before the text.
absl::Status ReadMetaspace(const json& part, TokenizerData* data) {
  if (StringOr(part, "replacement", kSpaceMark) != kSpaceMark) {
    return Unsupported("Metaspace with another replacement");
  }
  const bool old_flag = BoolOr(part, "add_prefix_space", true);
  const std::string scheme = StringOr(part, "prepend_scheme", old_flag ? "always" : "never");
  data->add_space_prefix = scheme != "never";
  data->space_prefix = scheme == "first" ? TokenizerData::SpacePrefix::kFirstFragment
                                         : TokenizerData::SpacePrefix::kUnlessPresent;
  data->split_at_spaces = BoolOr(part, "split", true);
  return absl::OkStatus();
}

// Name of the pre-tokenizer that `parts`, the last of them ByteLevel, amount to.
absl::StatusOr<std::string> ByteLevelName(const std::vector<const json*>& parts) {
  const bool gpt2_rule = BoolOr(*parts.back(), "use_regex", true);
  if (parts.size() == 1 && gpt2_rule) return std::string("gpt-2");
  if (parts.size() != 2) return Unsupported("this sequence of pre-tokenizers");
  const json& first = *parts[0];
  const std::string type = TypeName(first);
  if (type == "Digits" && gpt2_rule && BoolOr(first, "individual_digits", false)) {
    return std::string("smollm");
  }
  if (type != "Split" || gpt2_rule) return Unsupported("pre-tokenizer " + type);
  const std::string behavior = StringOr(first, "behavior", "");
  const bool inverted = BoolOr(first, "invert", false);
  const bool keeps_matches = inverted ? behavior == "Removed" : behavior == "Isolated";
  if (!keeps_matches) return Unsupported("Split with behavior " + behavior.substr(0, 64));
  const std::string pattern = StringOr(Member(first, "pattern"), "Regex", "");
  const std::string_view name = PreTokenizer::NameOfPattern(pattern);
  if (name.empty()) return Unsupported("the regular expression " + pattern.substr(0, 256));
  return std::string(name);
}

absl::Status ReadMetaspaceModel(const NormalizerRules& rules,
                                const std::vector<const json*>& pre_tokenizers,
                                TokenizerData* data) {
  data->kind = TokenizerData::Kind::kMetaspaceBpe;
  if (rules.nfc) return Unsupported("NFC with U+2581 for spaces");
  if (pre_tokenizers.empty()) {
    if (!rules.marks_spaces) return Unsupported("BPE without a pre-tokenizer");
    data->add_space_prefix = rules.prepends_mark;
    return absl::OkStatus();
  }
  const std::string type = TypeName(*pre_tokenizers[0]);
  if (pre_tokenizers.size() > 1 || type != "Metaspace" || rules.marks_spaces) {
    return Unsupported("pre-tokenizer " + type);
  }
  return ReadMetaspace(*pre_tokenizers[0], data);
}

// The token that a "SpecialToken" item of a template adds.
absl::StatusOr<TokenId> TemplateToken(const json& processor, const json& item) {
  const std::string name = StringOr(item, "id", "");
  const json& ids = Member(Member(Member(processor, "special_tokens"), name.c_str()), "ids");
  if (!ids.is_array() || ids.size() != 1) return Unsupported("this TemplateProcessing");
  return TokenIdOf(ids[0]);
}

// [BOS] sequence [EOS]
absl::Status ReadTemplate(const json& processor, TokenizerData* data) {
  bool after_text = false;
  for (const json& item : Member(processor, "single")) {
    if (!Member(item, "Sequence").is_null()) {
      if (after_text) return Unsupported("a TemplateProcessing with the text twice");
      after_text = true;
      continue;
    }
    KEYHOLE_ASSIGN_OR_RETURN(const TokenId id,
                             TemplateToken(processor, Member(item, "SpecialToken")));
    std::optional<bool>& flag = after_text ? data->add_eos : data->add_bos;
    if (flag.value_or(false)) return Unsupported("a TemplateProcessing with several tokens");
    flag = true;
    (after_text ? data->eos : data->bos) = id;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTextRules(const json& file, TokenizerData* data) {
  KEYHOLE_ASSIGN_OR_RETURN(const NormalizerRules rules, ReadNormalizer(Member(file, "normalizer")));
  const std::vector<const json*> parts = Parts(Member(file, "pre_tokenizer"), "pretokenizers");
  if (parts.empty() || TypeName(*parts.back()) != "ByteLevel") {
    return ReadMetaspaceModel(rules, parts, data);
  }
  data->kind = TokenizerData::Kind::kByteLevelBpe;
  if (rules.prepends_mark || rules.marks_spaces) return Unsupported("U+2581 with ByteLevel");
  data->nfc = rules.nfc;
  data->add_space_prefix = BoolOr(*parts.back(), "add_prefix_space", true);
  KEYHOLE_ASSIGN_OR_RETURN(data->pre, ByteLevelName(parts));
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const json& processor, TokenizerData* data) {
  for (const json* part : Parts(processor, "processors")) {
    const std::string type = TypeName(*part);
    if (type == "TemplateProcessing") {
      KEYHOLE_RETURN_IF_ERROR(ReadTemplate(*part, data));
    } else if (type != "ByteLevel") {
      return Unsupported("post-processor " + type);
    }
  }
  return absl::OkStatus();
}

}  // namespace keyhole
