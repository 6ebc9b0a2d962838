#include "engine/selection/policies/esa_paper.h"

#include "engine/selection/digest_scorer.h"
#include "engine/selection/staged_policy.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeEsaPaperPolicy(const PolicyParts& parts) {
  KEYHOLE_ASSIGN_OR_RETURN(
      auto scorer,
      DigestScorer::Create(parts,
                           {.form = DigestForm::kConcatenated, .score = kEsaPaperTraits.score}));
  return MakeStagedPolicy(kEsaPaperTraits, parts, std::move(scorer));
}

}  // namespace keyhole
