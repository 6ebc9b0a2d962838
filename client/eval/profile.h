// How the questions of an evaluation are attended to: "recall", or "recall:64" with a budget.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyhole::eval {

struct Profile {
  std::string name = "default";             // the server's default, or one of ProfileNames
  std::optional<int> selected_tokens = {};  // empty: the server's
};

// Errors: INVALID_ARGUMENT for another name, or a budget that is no positive number.
absl::StatusOr<Profile> ParseProfile(absl::string_view text);

}  // namespace keyhole::eval
