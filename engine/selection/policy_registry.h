// The list of selection policies by name.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// What the policy of that name needs and promises, before there is one.
// Errors: INVALID_ARGUMENT for an unknown name; the message lists the known ones.
absl::StatusOr<PolicyTraits> FindSelectionPolicy(std::string_view name);

// Errors: INVALID_ARGUMENT for an unknown name, and where `parts` lack what the policy needs.
absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeSelectionPolicy(std::string_view name,
                                                                     const PolicyParts& parts = {});

std::vector<std::string_view> SelectionPolicyNames();

}  // namespace keyhole
