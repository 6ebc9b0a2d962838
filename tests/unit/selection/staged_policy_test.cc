#include "engine/selection/staged_policy.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace keyhole {
namespace {

// Scores a row by its number; fails for one sequence.
class FailingScorer final : public RowScorer {
 public:
  explicit FailingScorer(RequestId fails) : fails_(fails) {}

  std::unique_ptr<RowScorer> Clone() const override {
    return std::make_unique<FailingScorer>(fails_);
  }

  void Score(Device& /*device*/,
             const SelectionContext& context,
             const Candidates& candidates,
             LayerSelection& /*times*/,
             std::span<float> scores) override {
    if (context.id == fails_) throw std::runtime_error("no scores");
    for (std::size_t i = 0; i < scores.size(); ++i) {
      scores[i] = static_cast<float>(candidates.rows.begin) + static_cast<float>(i);
    }
  }

 private:
  RequestId fails_;
};

std::vector<absl::StatusOr<Selection>> SelectSix(Device& device, RequestId fails) {
  StagedPolicy::Stages stages;
  stages.scorer = std::make_unique<FailingScorer>(fails);
  StagedPolicy policy({}, std::move(stages));
  std::vector<SelectionContext> contexts;
  for (RequestId id = 1; id <= 6; ++id) {
    contexts.push_back({.id = id,
                        .past = 100,
                        .q_len = 1,
                        .sizes = {.initial = 8, .local = 32, .selected = 4},
                        .stats = nullptr});
  }
  std::vector<absl::StatusOr<Selection>> chosen(contexts.size());
  policy.SelectEach(device, contexts, chosen);
  return chosen;
}

TEST(StagedPolicyTest, WhatAScorerThrowsOnAnyThreadReachesTheCaller) {
  for (const int n_threads : {1, 2, 3}) {
    Device device(n_threads);
    for (RequestId fails = 1; fails <= 6; ++fails) {
      EXPECT_THROW(SelectSix(device, fails), std::runtime_error) << n_threads << " " << fails;
    }
    const std::vector<std::int32_t> last = {64, 65, 66, 67};
    for (const auto& selection : SelectSix(device, 0)) {
      ASSERT_TRUE(selection.ok());
      EXPECT_EQ(selection->selected, last);
    }
  }
}

}  // namespace
}  // namespace keyhole
