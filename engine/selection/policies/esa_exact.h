// The vote of the default policy over whole keys: what compression is measured against.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

constexpr PolicyTraits kEsaExactTraits = {.name = "esa-exact"};

absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeEsaExactPolicy(const PolicyParts& parts);

}  // namespace keyhole
