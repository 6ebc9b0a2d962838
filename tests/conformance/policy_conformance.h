// What every selection policy promises, as checks. See engine/selection/README.md.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "engine/selection/policy_registry.h"
#include "tests/support/policy_harness.h"

namespace keyhole {

// A policy, and whether it may go from coarse to fine.
struct ConformanceCase {
  std::string policy;
  std::int32_t coarse_dims = 0;
};

class PolicyConformanceTest : public testing::TestWithParam<ConformanceCase> {
 protected:
  static constexpr SelectionSizes kSizes = {.initial = 8, .local = 32, .selected = 16};

  std::unique_ptr<PolicyHarness> Make() const {
    return std::make_unique<PolicyHarness>(
        GetParam().policy, PositionMode::kRectified, GetParam().coarse_dims);
  }

  Selection Select(PolicyHarness& policy, const PolicyCase& c) { return policy.Select(device_, c); }

  // Rows in range, ascending, each once; initial and local rows always in.
  static void ExpectWellFormed(const Selection& selection, const PolicyCase& context) {
    const Selection parts = Partition(context.past, context.sizes);
    EXPECT_EQ(selection.initial, parts.initial);
    EXPECT_EQ(selection.middle, parts.middle);
    EXPECT_EQ(selection.local, parts.local);
    if (selection.all_of_middle) {
      EXPECT_TRUE(selection.selected.empty());
    }
    std::int32_t previous = selection.middle.begin - 1;
    for (const std::int32_t row : selection.selected) {
      EXPECT_GT(row, previous);
      previous = row;
    }
    if (!selection.selected.empty()) {
      EXPECT_LT(selection.selected.back(), selection.middle.end);
    }
  }

  static void ExpectObeysBudget(const Selection& selection,
                                const PolicyCase& context,
                                MiddleRule rule) {
    const std::int32_t candidates = selection.middle.size();
    if (rule == MiddleRule::kNothing) {
      EXPECT_EQ(selection.n_selected(), 0);
    }
    if (rule == MiddleRule::kEverything) {
      EXPECT_EQ(selection.n_selected(), candidates);
    }
    if (rule == MiddleRule::kBudget) {
      EXPECT_EQ(selection.n_selected(), std::min(candidates, context.sizes.selected));
    }
  }

  Device device_{2};
};

}  // namespace keyhole
