#include "engine/model/json_file.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "engine/model/file_error.h"
#include "engine/model/mapped_file.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr int kMaxDepth = 32;

// Before a document is built, so that brackets alone cannot make it large.
bool NestsTooDeeply(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

absl::Status WrongType(std::string_view key, std::string_view wanted) {
  return InvalidFile("\"{}\" is not {}", key, wanted);
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    return InvalidFile("JSON of {} bytes, at most {} are read", text.size(), max_bytes);
  }
  if (NestsTooDeeply(text)) return InvalidFile("JSON is nested too deeply");
  nlohmann::json document = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (document.is_discarded()) return InvalidFile("malformed JSON");
  if (!document.is_object()) return InvalidFile("JSON is not an object");
  return document;
}

absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path, std::size_t max_bytes) {
  KEYHOLE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  absl::StatusOr<nlohmann::json> document = ParseJsonObject(file.text(), max_bytes);
  if (document.ok()) return document;
  return InContext(path, document.status());
}

const nlohmann::json* JsonFields::Find(std::string_view key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool JsonFields::Contains(std::string_view key) const { return object_.contains(key); }

absl::StatusOr<std::int64_t> JsonFields::Int(std::string_view key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return InvalidFile("no \"{}\"", key);
  if (value->is_number_unsigned() &&
      value->get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
    return WrongType(key, "an integer of 63 bits");
  }
  if (!value->is_number_integer()) return WrongType(key, "an integer");
  return value->get<std::int64_t>();
}

absl::StatusOr<double> JsonFields::Float(std::string_view key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return InvalidFile("no \"{}\"", key);
  if (!value->is_number()) return WrongType(key, "a number");
  return value->get<double>();
}

absl::StatusOr<std::int64_t> JsonFields::IntOr(std::string_view key, std::int64_t fallback) const {
  if (!Has(key)) return fallback;
  return Int(key);
}

absl::StatusOr<double> JsonFields::FloatOr(std::string_view key, double fallback) const {
  if (!Has(key)) return fallback;
  return Float(key);
}

absl::StatusOr<bool> JsonFields::BoolOr(std::string_view key, bool fallback) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return WrongType(key, "a boolean");
  return value->get<bool>();
}

absl::StatusOr<std::string_view> JsonFields::StringOr(std::string_view key,
                                                      std::string_view fallback) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) return WrongType(key, "a string");
  return std::string_view(value->get_ref<const std::string&>());
}

}  // namespace keyhole
