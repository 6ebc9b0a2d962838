// What every selection policy promises, as checks. See engine/selection/README.md.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/selection/policy_registry.h"

namespace keyhole {

// Random queries that live as long as the context that points at them.
struct PolicyCase {
  static constexpr std::int32_t kHeads = 6;
  static constexpr std::int32_t kHeadDim = 16;

  PolicyCase(RequestId id, std::int32_t past, std::int32_t q_len, SelectionSizes sizes)
      : queries(static_cast<std::size_t>(q_len) * kHeads * kHeadDim) {
    std::mt19937 random(static_cast<unsigned>(id * 7919 + past));
    std::normal_distribution<float> normal;
    std::generate(queries.begin(), queries.end(), [&] { return normal(random); });
    context = {.id = id,
               .layer = 0,
               .past = past,
               .q_len = q_len,
               .n_heads = kHeads,
               .head_dim = kHeadDim,
               .queries = queries.data(),
               .sizes = sizes};
  }
  PolicyCase(const PolicyCase&) = delete;
  PolicyCase& operator=(const PolicyCase&) = delete;

  std::vector<float> queries;
  SelectionContext context;
};

class PolicyConformanceTest : public testing::TestWithParam<std::string> {
 protected:
  static constexpr SelectionSizes kSizes = {.initial = 8, .local = 32, .selected = 16};

  std::unique_ptr<SelectionPolicy> Make() const { return MakeSelectionPolicy(GetParam()).value(); }

  Selection Select(SelectionPolicy& policy, const PolicyCase& c) {
    absl::StatusOr<Selection> selection = policy.Select(device_, c.context);
    EXPECT_TRUE(selection.ok()) << selection.status();
    return selection.value_or(Selection{});
  }

  // Rows in range, ascending, each once; initial and local rows always in.
  static void ExpectWellFormed(const Selection& selection, const SelectionContext& context) {
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
                                const SelectionContext& context,
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
