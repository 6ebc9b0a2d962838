// Reading parsed JSON of unknown shape without exceptions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/types.h"

namespace keyhole {

// Errors: INVALID_ARGUMENT, naming `what`, for text that is not one JSON object.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view what);

// Member `key` of `value`; a null when there is none or `value` is not an object.
const nlohmann::json& Member(const nlohmann::json& value, const char* key);

// Member `key` when it has the type asked for, else `fallback`.
std::string StringOr(const nlohmann::json& value, const char* key, std::string_view fallback);
bool BoolOr(const nlohmann::json& value, const char* key, bool fallback);

// Errors: INVALID_ARGUMENT for what is not an integer that can be a token id.
absl::StatusOr<TokenId> TokenIdOf(const nlohmann::json& value);

}  // namespace keyhole
