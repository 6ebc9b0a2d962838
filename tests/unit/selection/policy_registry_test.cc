#include "engine/selection/policy_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyhole {
namespace {

TEST(PolicyRegistryTest, EveryNameMakesThePolicyOfThatName) {
  ASSERT_THAT(SelectionPolicyNames(), testing::IsSupersetOf({"full", "sink_recent"}));
  for (const std::string_view name : SelectionPolicyNames()) {
    const auto policy = MakeSelectionPolicy(name);
    ASSERT_TRUE(policy.ok()) << policy.status();
    EXPECT_EQ((*policy)->traits().name, name);
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
