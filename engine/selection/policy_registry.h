// The list of selection policies by name.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// Errors: INVALID_ARGUMENT for an unknown name; the message lists the known ones.
absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeSelectionPolicy(std::string_view name);

std::vector<std::string_view> SelectionPolicyNames();

}  // namespace keyhole
