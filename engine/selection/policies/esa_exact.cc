#include "engine/selection/policies/esa_exact.h"

#include "absl/status/status.h"
#include "engine/selection/exact_scorer.h"
#include "engine/selection/staged_policy.h"

namespace keyhole {

absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeEsaExactPolicy(const PolicyParts& parts) {
  if (parts.store == nullptr) return absl::InvalidArgumentError("exact scores need the KV pages");
  return MakeStagedPolicy(kEsaExactTraits, parts, std::make_unique<ExactScorer>(parts));
}

}  // namespace keyhole
