#include "engine/selection/policy_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/policy_harness.h"

namespace keyhole {
namespace {

TEST(PolicyRegistryTest, EveryNameMakesThePolicyOfThatName) {
  ASSERT_THAT(SelectionPolicyNames(), testing::IsSupersetOf({"esa", "full", "sink_recent"}));
  for (const std::string_view name : SelectionPolicyNames()) {
    EXPECT_EQ(FindSelectionPolicy(name).value().name, name);
    EXPECT_EQ(PolicyHarness(name).policy().traits().name, name);
  }
}

TEST(PolicyRegistryTest, UnknownNameListsTheKnownOnes) {
  const auto policy = MakeSelectionPolicy("fulll");
  EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(policy.status().message(), testing::HasSubstr("'fulll'"));
  EXPECT_THAT(policy.status().message(), testing::HasSubstr("full, sink_recent"));
}

}  // namespace
}  // namespace keyhole
