// The alternative of ESA in which the best of all heads decides (arXiv 2502.14477).
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

constexpr PolicyTraits kEsaIndividualTraits = {.name = "esa-individual",
                                               .digests = DigestForm::kPerKvHead,
                                               .score = ScoreRule::kShift,
                                               .default_selected = 1024,
                                               .default_proximity = 3};

absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeEsaIndividualPolicy(const PolicyParts& parts);

}  // namespace keyhole
