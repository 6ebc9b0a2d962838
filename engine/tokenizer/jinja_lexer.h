// Cuts a chat template into tokens, with the white space rules trim_blocks and lstrip_blocks
// applied.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keyhole::jinja {

enum class TokenKind {
  kData,  // text between tags
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,  // text: the value, escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

// The last token is kEnd.
// Errors: INVALID_ARGUMENT with the line.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace keyhole::jinja
