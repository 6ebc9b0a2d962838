#include "engine/tokenizer/json_access.h"

#include "engine/tokenizer/vocabulary.h"

namespace keyhole {
namespace {

constexpr int kMaxDepth = 32;

// Stops the parser where brackets alone would make a document large.
bool AcceptEvent(int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
  return depth <= kMaxDepth;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view what) {
  nlohmann::json parsed = nlohmann::json::parse(text, AcceptEvent, /*allow_exceptions=*/false);
  if (parsed.is_discarded() || !parsed.is_object()) {
    return absl::InvalidArgumentError(std::string(what) + " is not a JSON object");
  }
  return parsed;
}

const nlohmann::json& Member(const nlohmann::json& value, const char* key) {
  static const nlohmann::json kNull;
  if (!value.is_object()) return kNull;
  const auto found = value.find(key);
  return found == value.end() ? kNull : *found;
}

std::string StringOr(const nlohmann::json& value, const char* key, std::string_view fallback) {
  const nlohmann::json& member = Member(value, key);
  return member.is_string() ? member.get<std::string>() : std::string(fallback);
}

bool BoolOr(const nlohmann::json& value, const char* key, bool fallback) {
  const nlohmann::json& member = Member(value, key);
  return member.is_boolean() ? member.get<bool>() : fallback;
}

absl::StatusOr<TokenId> TokenIdOf(const nlohmann::json& value) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() < kMaxVocabularySize) {
    return static_cast<TokenId>(value.get<std::uint64_t>());
  }
  return absl::InvalidArgumentError("a token id is not an integer in [0, " +
                                    std::to_string(kMaxVocabularySize) + ")");
}

}  // namespace keyhole
