// Selection in stages: score the middle, pool over neighbours, take the top k.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/ops/top_k.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/recall_sampler.h"
#include "engine/selection/row_scorer.h"
#include "engine/selection/run_scores.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// Where the budget covers the middle, all of it is chosen and nothing is scored. Keeps nothing for
// single sequences. Source: ESA section 3 (arXiv 2502.14477).
class StagedPolicy final : public SelectionPolicy {
 public:
  struct Stages {
    std::unique_ptr<RowScorer> scorer;
    std::int32_t proximity = 0;
    std::unique_ptr<RecallSampler> recall;  // null: no samples
  };

  StagedPolicy(const PolicyTraits& traits, Stages stages);

  PolicyTraits traits() const override { return traits_; }
  absl::StatusOr<Selection> Select(Device& device, const SelectionContext& context) override;
  void OnAppend(Device& device, std::span<const AppendContext> sequences) override;
  void OnSequenceEnd(RequestId) override {}

 private:
  void Choose(Device& device,
              const SelectionContext& context,
              LayerSelection& layer,
              Selection& selection);
  void TakeBest(Device& device,
                const SelectionContext& context,
                const Candidates& candidates,
                std::span<const float> scores,
                Selection& selection);

  PolicyTraits traits_;
  Stages stages_;
  std::vector<float> scores_;
  std::vector<float> pooled_;
  RunScores runs_;
  TopKWorkspace top_k_;
};

// With recall samples where the parts allow them.
std::unique_ptr<SelectionPolicy> MakeStagedPolicy(const PolicyTraits& traits,
                                                  const PolicyParts& parts,
                                                  std::unique_ptr<RowScorer> scorer);

}  // namespace keyhole
