// Errors about model files, as formatted text.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"

namespace keyhole {

// The file contradicts its format or itself.
template <typename... Args>
absl::Status InvalidFile(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError(fmt::format(format, std::forward<Args>(args)...));
}

// The file may be right, but asks for what is not supported.
template <typename... Args>
absl::Status Unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return absl::UnimplementedError(fmt::format(format, std::forward<Args>(args)...));
}

// The same error with "<context>: " before its message.
inline absl::Status InContext(std::string_view context, const absl::Status& status) {
  return {status.code(), fmt::format("{}: {}", context, std::string(status.message()))};
}

// Text from a file, fit for a message: short, and with escapes for what cannot be printed.
inline std::string Printable(std::string_view text) {
  constexpr std::size_t kMaxLength = 100;
  return absl::CHexEscape(std::string(text.substr(0, kMaxLength)));
}

}  // namespace keyhole
