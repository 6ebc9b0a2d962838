// Selection in stages: score the middle, pool over neighbours, take the top k.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "engine/ops/top_k.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/recall_sampler.h"
#include "engine/selection/row_scorer.h"
#include "engine/selection/run_scores.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// Where the budget covers the middle, all of it is chosen and nothing is scored. Keeps nothing for
// single sequences. Enough decoding sequences are shared out among the threads, since the stages of
// one leave threads waiting for each other. Source: ESA section 3 (arXiv 2502.14477).
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
  void SelectEach(Device& device,
                  std::span<const SelectionContext> contexts,
                  std::span<absl::StatusOr<Selection>> out) override;
  void OnAppend(Device& device, std::span<const AppendContext> sequences) override;
  void OnSequenceEnd(RequestId) override {}

 private:
  // What one thread chooses with, reused from call to call.
  struct Lane {
    std::unique_ptr<RowScorer> scorer;
    std::vector<float> scores;
    std::vector<float> pooled;
    RunScores runs;
    TopKWorkspace top_k;
  };

  // One sequence of which rows have to be chosen.
  struct Choice {
    const SelectionContext* context;
    Selection* selection;
    LayerSelection times;
    std::exception_ptr failure;
  };

  void Choose(Device& device, Lane& lane, Choice& choice) const;
  void TakeBest(Device& device, Lane& lane, const Candidates& candidates, Choice& choice) const;
  void ChooseTogether(Device& device, std::span<Choice> choices);

  PolicyTraits traits_;
  std::int32_t proximity_;
  std::unique_ptr<RecallSampler> recall_;
  std::vector<Lane> lanes_;  // the first has the scorer of the stages
  std::vector<Choice> choices_;
};

// With recall samples where the parts allow them.
std::unique_ptr<SelectionPolicy> MakeStagedPolicy(const PolicyTraits& traits,
                                                  const PolicyParts& parts,
                                                  std::unique_ptr<RowScorer> scorer);

}  // namespace keyhole
