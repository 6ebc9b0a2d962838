// Small JSON documents from untrusted files, with typed access to an object's fields.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace keyhole {

// Errors: INVALID_ARGUMENT if longer than `max_bytes`, nested too deeply, malformed or no object.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::size_t max_bytes);

// Errors: also those of MappedFile::Open; messages name the file.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path, std::size_t max_bytes);

// A field that is null counts as absent.
// Owner: a caller that keeps the document alive. Thread: immutable, any thread.
class JsonFields {
 public:
  explicit JsonFields(const nlohmann::json& object) : object_(object) {}

  const nlohmann::json* Find(std::string_view key) const;  // null if absent
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  bool Contains(std::string_view key) const;  // even if null

  // Errors: INVALID_ARGUMENT if absent or of another type.
  absl::StatusOr<std::int64_t> Int(std::string_view key) const;
  absl::StatusOr<double> Float(std::string_view key) const;  // integers too

  // The same, with a value for an absent field.
  absl::StatusOr<std::int64_t> IntOr(std::string_view key, std::int64_t fallback) const;
  absl::StatusOr<double> FloatOr(std::string_view key, double fallback) const;
  absl::StatusOr<bool> BoolOr(std::string_view key, bool fallback) const;
  absl::StatusOr<std::string_view> StringOr(std::string_view key, std::string_view fallback) const;

 private:
  const nlohmann::json& object_;
};

}  // namespace keyhole
