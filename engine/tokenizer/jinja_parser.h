// Parses a chat template into its tree.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja_ast.h"

namespace keyhole::jinja {

// Statements: for, if, set (also as a block), macro, break, continue, generation.
// Errors: INVALID_ARGUMENT names what is wrong or not supported, with its line.
absl::StatusOr<NodePtr> ParseTemplate(std::string_view source);

}  // namespace keyhole::jinja
