#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/selection/policy_registry.h"
#include "tests/support/policy_harness.h"
#include "tests/unit/selection/selection_reference.h"

namespace keyhole {
namespace {

constexpr SelectionSizes kSizes = {.initial = 8, .local = 32, .selected = 24};

struct StagedCase {
  std::string policy;
  ReferenceRule rule;
  std::int32_t probes;
  bool compressed;
  PositionMode positions = PositionMode::kRectified;
};

class StagedPoliciesTest : public testing::TestWithParam<StagedCase> {
 protected:
  Vector Scores(PolicyHarness& harness, const PolicyCase& c, RowRange rows) const {
    const DigestMaps* maps = GetParam().compressed ? &harness.maps() : nullptr;
    return ReferenceScores(c, rows, GetParam().probes, maps, GetParam().rule);
  }

  Device device_{2};
};

// A row is chosen exactly if its pooled score is among the top; scores closer than rounding may
// fall either way.
TEST_P(StagedPoliciesTest, ChoosesWhatTheFormulasChoose) {
  PolicyHarness harness(GetParam().policy, GetParam().positions);
  RequestId id = 1;
  for (const std::int32_t past : {70, 90, 333, 700}) {
    for (const std::int32_t q_len : {1, 4, 10}) {
      const PolicyCase c(id++, past, q_len, kSizes);
      const Selection selection = harness.Select(device_, c);
      ASSERT_EQ(selection.n_selected(), 24);
      const Vector pooled = Pooled(Scores(harness, c, selection.middle), PolicyHarness::kProximity);
      Vector sorted = pooled;
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      const double threshold = sorted[23];
      const double rounding = 1e-5 * std::max(1.0, std::abs(threshold));
      std::vector<bool> chosen(pooled.size());
      for (const std::int32_t row : selection.selected) {
        chosen[row - selection.middle.begin] = true;
        EXPECT_GE(pooled[row - selection.middle.begin], threshold - rounding) << row;
      }
      for (std::size_t j = 0; j < pooled.size(); ++j) {
        if (pooled[j] > threshold + rounding) {
          EXPECT_TRUE(chosen[j]) << j;
        }
      }
    }
  }
}

TEST_P(StagedPoliciesTest, CountsRowsAndSamplesRecallInDecode) {
  PolicyHarness harness(GetParam().policy, GetParam().positions);
  StepSelectionStats stats;
  ASSERT_TRUE(harness.Select(device_, PolicyCase(1, 500, 8, kSizes), &stats).ok());
  EXPECT_THAT(stats.samples, testing::IsEmpty());
  const PolicyCase decode(1, 508, 1, kSizes);
  const Selection selection = harness.Select(device_, decode, &stats).value();
  ASSERT_EQ(stats.layers.size(), 1);
  EXPECT_EQ(stats.layers[0].scored, stats.layers[0].candidates);
  EXPECT_EQ(stats.layers[0].selected, 2 * 24);
  EXPECT_EQ(stats.layers[0].candidates, (500 - 40) + (508 - 40));
  ASSERT_EQ(stats.samples.size(), 1);

  const Vector exact = ReferenceScores(decode, selection.middle, 1, nullptr, ReferenceRule::kVote);
  double mass = 0;
  for (const std::int32_t row : selection.selected) mass += exact[row - selection.middle.begin];
  EXPECT_NEAR(stats.samples[0].mass, mass / PolicyHarness::kHeads, 1e-5);
  if (GetParam().policy == "esa-exact") {
    EXPECT_EQ(stats.samples[0].overlap, 1);
  } else {
    EXPECT_LT(stats.samples[0].overlap, 1);
    EXPECT_GT(stats.samples[0].overlap, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Policies,
    StagedPoliciesTest,
    testing::Values(StagedCase{"esa", ReferenceRule::kVote, PolicyHarness::kProbes, true},
                    StagedCase{"esa-paper", ReferenceRule::kShiftOfSum, 0, true},
                    StagedCase{"esa-individual", ReferenceRule::kShiftOfHeads, 0, true},
                    StagedCase{"esa-exact", ReferenceRule::kVote, PolicyHarness::kProbes, false},
                    StagedCase{"esa-exact",
                               ReferenceRule::kVote,
                               PolicyHarness::kProbes,
                               false,
                               PositionMode::kNative}),
    [](const auto& test) {
      std::string name = test.param.policy;
      std::replace(name.begin(), name.end(), '-', '_');
      return name + (test.param.positions == PositionMode::kNative ? "_native" : "");
    });

TEST(StagedPolicyPartsTest, PolicyWithoutItsPartsIsRefused) {
  for (const char* name : {"esa", "esa-paper", "esa-individual", "esa-exact"}) {
    EXPECT_EQ(MakeSelectionPolicy(name).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace keyhole
