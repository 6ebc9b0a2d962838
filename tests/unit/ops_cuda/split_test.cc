#include <gtest/gtest.h>

#include "engine/ops/cuda/kernels/attend_split.h"
#include "engine/ops/cuda/kernels/score_spans.h"

namespace keyhole::cuda {
namespace {

constexpr std::int32_t kSizes[] = {0,
                                   1,
                                   15,
                                   16,
                                   17,
                                   63,
                                   64,
                                   65,
                                   127,
                                   128,
                                   129,
                                   511,
                                   512,
                                   513,
                                   4736,
                                   70000,
                                   262144,
                                   262145,
                                   1 << 20};

TEST(ScoreSpansTest, SpansCoverTheCandidatesAndAreFew) {
  for (const std::int32_t begin : {0, 1, 16, 128, 4111}) {
    for (const std::int32_t n : kSizes) {
      const ScoreSpans spans = SpansOf(begin, begin + n);
      const std::int32_t tokens = SpannedTokens(begin, begin + n);
      SCOPED_TRACE(testing::Message() << n << " candidates from " << begin);
      EXPECT_EQ(spans.span_tokens % kSpanUnit, 0);
      EXPECT_LE(spans.n_spans, kMaxScoreSpans);
      EXPECT_GE(std::int64_t{spans.n_spans} * spans.span_tokens, tokens);
      if (n == 0) {
        EXPECT_EQ(spans.n_spans, 0);
      } else {
        EXPECT_LT(std::int64_t{spans.n_spans - 1} * spans.span_tokens, tokens);  // none is empty
        EXPECT_EQ((begin + n - tokens) % kBlockTokens, 0);
      }
    }
  }
}

TEST(AttendSplitTest, SplitsCoverTheRowsAndAreFew) {
  for (const std::int32_t unit : {kFewSplitUnit, kManySplitUnit}) {
    for (const std::int32_t n_blocks : {1, 3, 8, 264, 528, 100000}) {
      for (const std::int32_t n : kSizes) {
        const AttendSplits splits = SplitsOf(n, n_blocks, unit);
        SCOPED_TRACE(testing::Message() << n << " rows, " << n_blocks << " blocks");
        EXPECT_EQ(splits.split_rows % unit, 0);
        EXPECT_GE(splits.n_splits, 1);
        EXPECT_GE(std::int64_t{splits.n_splits} * splits.split_rows, n);
        EXPECT_LE(std::int64_t{splits.n_splits - 1} * splits.split_rows, n);
        if (splits.n_splits > 1) {
          EXPECT_LE(std::int64_t{splits.n_splits} * n_blocks, kWantedBlocks);
        }
      }
    }
  }
}

TEST(AttendSplitTest, HeadsOfABlockFitItsRegisters) {
  EXPECT_EQ(FewHeads(1), 1);
  EXPECT_EQ(FewHeads(4), 4);
  EXPECT_EQ(FewHeads(5), 8);
  for (const std::int32_t group : {1, 3, 4, 8, 12}) {
    const std::int32_t wanted = FewWanted(FewHeads(group));
    EXPECT_LE(wanted, kWantedBlocks);
    EXPECT_LE(SplitsOf(1 << 20, 8, kFewSplitUnit, wanted).n_splits * 8, wanted);
  }
}

TEST(AttendSplitTest, OneLongSequenceFillsALargeGpu) {
  const AttendSplits splits = SplitsOf(128 + 512 + 4096, 8, kFewSplitUnit);
  EXPECT_GE(8 * splits.n_splits, 2 * 132);
}

}  // namespace
}  // namespace keyhole::cuda
