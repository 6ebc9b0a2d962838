#include "engine/scheduler/prefix_rules.h"

#include <gtest/gtest.h>

namespace keyhole {
namespace {

constexpr PrefixRules kRectified = {
    .chunk_size = 8, .positions = PositionMode::kRectified, .tail = 10};

PrefixRules Native() {
  PrefixRules rules = kRectified;
  rules.positions = PositionMode::kNative;
  return rules;
}

Request WithProfile(AttentionProfile profile) {
  Request request;
  request.selection.profile = profile;
  return request;
}

TEST(PrefixRulesTest, OnlyFullChunksArePublished) {
  EXPECT_EQ(PublishableChunks(Native(), {}, 7), 0);
  EXPECT_EQ(PublishableChunks(Native(), {}, 8), 1);
  EXPECT_EQ(PublishableChunks(Native(), {}, 31), 3);
}

TEST(PrefixRulesTest, TheLastTokenOfThePromptIsAlwaysComputed) {
  EXPECT_EQ(ReusableChunks(Native(), {}, 1), 0);
  EXPECT_EQ(ReusableChunks(Native(), {}, 8), 0);
  EXPECT_EQ(ReusableChunks(Native(), {}, 9), 1);
  EXPECT_EQ(ReusableChunks(Native(), {}, 16), 1);
  EXPECT_EQ(ReusableChunks(Native(), {}, 17), 2);
}

// The tail of a prompt of 42 tokens begins at 32, that of 41 inside the fourth chunk.
TEST(PrefixRulesTest, NoChunkThatReachesIntoATailOfAnotherProfile) {
  for (const Request& request : {Request(), WithProfile(AttentionProfile::kRecall)}) {
    EXPECT_EQ(PublishableChunks(kRectified, request, 42), 4);
    EXPECT_EQ(PublishableChunks(kRectified, request, 41), 3);
    EXPECT_EQ(PublishableChunks(kRectified, request, 9), 0);
    EXPECT_EQ(ReusableChunks(kRectified, request, 42), 4);
    EXPECT_EQ(ReusableChunks(kRectified, request, 41), 3);
    EXPECT_EQ(ReusableChunks(kRectified, request, 5), 0);
  }
}

TEST(PrefixRulesTest, TheProfileBeforeTheTailMakesTheTailLikeTheRest) {
  const Request prose = WithProfile(AttentionProfile::kProse);
  EXPECT_EQ(PublishableChunks(kRectified, prose, 48), 6);
  EXPECT_EQ(ReusableChunks(kRectified, prose, 48), 5);
  PrefixRules paper = kRectified;
  paper.default_profile = AttentionProfile::kPaper;
  paper.before_tail = AttentionProfile::kPaper;
  EXPECT_EQ(PublishableChunks(paper, {}, 48), 6);
  EXPECT_EQ(PublishableChunks(paper, prose, 48), 4);
}

TEST(PrefixRulesTest, TailThatReadsMoreIsNeverShared) {
  PrefixRules rules = Native();
  rules.tail_reads_other_rows = true;
  EXPECT_EQ(PublishableChunks(rules, WithProfile(AttentionProfile::kProse), 42), 4);
  EXPECT_EQ(PublishableChunks(rules, WithProfile(AttentionProfile::kProse), 41), 3);
}

TEST(PrefixRulesTest, TheRowBeforeAScoredTokenIsComputed) {
  Request request;
  request.output.prompt_logprobs = PromptLogprobRange{.first = 17, .count = 2};
  EXPECT_EQ(ReusableChunks(Native(), request, 40), 2);  // row 16 is the first that is computed
  request.output.prompt_logprobs->first = 16;
  EXPECT_EQ(ReusableChunks(Native(), request, 40), 1);
  request.output.prompt_logprobs->first = 1;
  EXPECT_EQ(ReusableChunks(Native(), request, 40), 0);
  EXPECT_EQ(PublishableChunks(Native(), request, 40), 5);
  request.output.prompt_logprobs->count = 0;
  EXPECT_EQ(ReusableChunks(Native(), request, 40), 4);
}

TEST(PrefixRulesTest, TheTailOfABudgetOfItsOwnIsNeverShared) {
  Request request;
  request.selection.selected_tokens = 64;
  EXPECT_EQ(PublishableChunks(Native(), request, 42), 4);
  EXPECT_EQ(PublishableChunks(Native(), request, 41), 3);
  EXPECT_EQ(ReusableChunks(Native(), request, 41), 3);
}

}  // namespace
}  // namespace keyhole
