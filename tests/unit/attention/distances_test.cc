#include "engine/attention/distances.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyhole {
namespace {

TEST(DistancesTest, DefaultsFollowTheLocalSize) {
  EXPECT_EQ(DefaultLocal(8192), 4096);
  EXPECT_EQ(DefaultLocal(131072), 4096);
  EXPECT_EQ(DefaultLocal(2048), 1024);
  const DistanceSettings d = DefaultDistances(4096);
  EXPECT_EQ(d.recall.selected, 1024);
  EXPECT_EQ(d.recall.initial, 4096);
  EXPECT_EQ(d.recall.far_bias, 0.5F);
  EXPECT_EQ(d.recall.local, 1024);  // no local row is further away than a selected one
  EXPECT_EQ(d.recall.budget, 128);
  EXPECT_EQ(d.prose.selected, 2048);
  EXPECT_EQ(d.prose.initial, 4096);
  EXPECT_EQ(d.prose.far_bias, 0);
  EXPECT_GE(d.prose.local, 4096);
  EXPECT_EQ(d.paper.selected, 4096);
  EXPECT_EQ(d.paper.initial, 4096);
  EXPECT_EQ(d.paper.far_bias, 0);
  EXPECT_GE(d.paper.local, 4096);
}

TEST(DistancesTest, EarlierQueriesUseProseUnlessTheServerIsSetToThePaper) {
  DistanceSettings d = DefaultDistances(4096);
  EXPECT_EQ(&d.BeforeTail(), &d.prose);
  d.default_profile = AttentionProfile::kPaper;
  EXPECT_EQ(&d.BeforeTail(), &d.paper);
  EXPECT_EQ(&d.Of(AttentionProfile::kRecall), &d.recall);
  EXPECT_EQ(&d.Of(AttentionProfile::kProse), &d.prose);
  EXPECT_EQ(&d.Of(AttentionProfile::kPaper), &d.paper);
}

TEST(DistancesTest, LargestDistanceStaysBelowTheTrainedLength) {
  const SelectionSizes sizes = {.initial = 128, .local = 4096, .selected = 512};
  const DistanceSettings d = DefaultDistances(sizes.local);
  EXPECT_TRUE(CheckDistances(d, sizes, 8192).ok());
  EXPECT_TRUE(CheckDistances(d, sizes, 4096 + 512).ok());
  const absl::Status small = CheckDistances(d, sizes, 4096 + 511);
  EXPECT_EQ(small.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(small.message(), testing::HasSubstr("4607"));
  DistanceSettings far = d;
  far.prose.initial = 8192;
  EXPECT_EQ(CheckDistances(far, sizes, 8192).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(CheckDistances(far, sizes, 8193).ok());
  far.prose.initial = -1;
  EXPECT_EQ(CheckDistances(far, sizes, 8193).code(), absl::StatusCode::kInvalidArgument);
  DistanceSettings negative = d;
  negative.recall.local = -1;
  EXPECT_EQ(CheckDistances(negative, sizes, 8193).code(), absl::StatusCode::kInvalidArgument);
  negative = d;
  negative.recall.budget = -1;
  EXPECT_EQ(CheckDistances(negative, sizes, 8193).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace keyhole
