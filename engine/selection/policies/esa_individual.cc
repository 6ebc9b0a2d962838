#include "engine/selection/policies/esa_individual.h"

#include "engine/selection/digest_scorer.h"
#include "engine/selection/staged_policy.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeEsaIndividualPolicy(const PolicyParts& parts) {
  KEYHOLE_ASSIGN_OR_RETURN(
      auto scorer,
      DigestScorer::Create(parts,
                           {.form = DigestForm::kPerKvHead, .score = kEsaIndividualTraits.score}));
  return MakeStagedPolicy(kEsaIndividualTraits, parts, std::move(scorer));
}

}  // namespace keyhole
