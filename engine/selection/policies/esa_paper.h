// ESA as published: raw logits summed over all heads (arXiv 2502.14477, eq. 3-6).
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

constexpr PolicyTraits kEsaPaperTraits = {.name = "esa-paper",
                                          .digests = DigestForm::kConcatenated,
                                          .score = ScoreRule::kShift,
                                          .default_selected = 2048,
                                          .default_proximity = 3};

absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeEsaPaperPolicy(const PolicyParts& parts);

}  // namespace keyhole
