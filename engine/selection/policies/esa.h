// The default: a soft vote of the heads over compressed keys of each KV head.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

constexpr PolicyTraits kEsaTraits = {
    .name = "esa", .digests = DigestForm::kPerKvHead, .coarse_to_fine = true};

absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeEsaPolicy(const PolicyParts& parts);

}  // namespace keyhole
