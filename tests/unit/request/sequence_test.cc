#include "engine/request/sequence.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "engine/kv/page_pool.h"

namespace keyhole {
namespace {

TEST(SequencePositionsTest, ChunksStartAtMultiplesAndCoverThePrompt) {
  for (std::int32_t prompt_len = 1; prompt_len < 40; ++prompt_len) {
    std::int32_t computed = 0;
    std::int32_t chunks = 0;
    const std::int32_t expected = ChunksLeft(0, prompt_len, 8);
    while (computed < prompt_len) {
      const TokenRange chunk = NextChunk(computed, prompt_len, {.chunk_size = 8});
      EXPECT_EQ(chunk.begin % 8, 0);
      EXPECT_EQ(chunk.begin, computed);
      computed += chunk.count;
      ++chunks;
    }
    EXPECT_EQ(computed, prompt_len);
    EXPECT_EQ(chunks, expected);
  }
}

// The last chunk holds the prompt's last tokens and no others, wherever the prompt ends.
TEST(SequencePositionsTest, TheTailOfALongPromptIsCutIntoShortChunks) {
  constexpr Chunking kChunking = {.chunk_size = 16, .tail = 10, .tail_chunk = 4, .long_prompt = 25};
  for (std::int32_t prompt_len = 1; prompt_len < 90; ++prompt_len) {
    std::set<std::int32_t> begins;
    for (std::int32_t computed = 0; computed < prompt_len;) {
      begins.insert(computed);
      const TokenRange chunk = NextChunk(computed, prompt_len, kChunking);
      ASSERT_GT(chunk.count, 0);
      computed += chunk.count;
      ASSERT_LE(computed, prompt_len);
    }
    std::set<std::int32_t> expected;
    for (std::int32_t begin = 0; begin < prompt_len; begin += 16) expected.insert(begin);
    if (prompt_len >= 25) {
      for (const std::int32_t before_end : {10, 8, 4}) expected.insert(prompt_len - before_end);
    }
    EXPECT_EQ(begins, expected) << prompt_len;
  }
}

// Over all chunks, each scored token is predicted by the row before it, once.
TEST(SequencePositionsTest, PromptLogprobRowsCoverTheRangeOnce) {
  const std::int32_t prompt_len = 21;
  for (std::int32_t first = 1; first < prompt_len; ++first) {
    for (std::int32_t count = 0; first + count <= prompt_len; ++count) {
      std::vector<std::int32_t> scored;
      for (std::int32_t computed = 0; computed < prompt_len;) {
        const TokenRange chunk = NextChunk(computed, prompt_len, {.chunk_size = 8});
        const TokenRange rows = PromptLogprobRows(chunk, {.first = first, .count = count});
        ASSERT_LE(rows.begin + rows.count, chunk.count);
        for (std::int32_t i = 0; i < rows.count; ++i) {
          scored.push_back(chunk.begin + rows.begin + i + 1);
        }
        computed += chunk.count;
      }
      std::vector<std::int32_t> expected;
      for (std::int32_t i = 0; i < count; ++i) expected.push_back(first + i);
      ASSERT_EQ(scored, expected);
    }
  }
}

TEST(SequenceTest, LivesThroughPrefillAndDecode) {
  PagePool pool(4);
  Request request;
  Sequence sequence(1, request, {10, 11, 12, 13, 14}, {.max_output = 3});
  const TokenId* storage = sequence.tokens().data();
  EXPECT_EQ(sequence.phase(), SequencePhase::kWaiting);
  EXPECT_EQ(sequence.max_len(), 8);
  sequence.Start(PageTable(&pool, *pool.Allocate(2)));
  EXPECT_EQ(sequence.phase(), SequencePhase::kPrefill);
  sequence.CommitPrefill(4, {{.chosen = {.token = 11}, .top = {}}});
  EXPECT_EQ(sequence.prompt_left(), 1);
  sequence.CommitPrefill(1, {{.chosen = {.token = 14}, .top = {}}});
  EXPECT_EQ(sequence.phase(), SequencePhase::kDecode);
  EXPECT_EQ(sequence.TakePromptLogprobs().size(), 2);

  const std::vector<TokenId> end_tokens = {99};
  EXPECT_EQ(sequence.CommitToken(20, end_tokens), std::nullopt);
  EXPECT_EQ(sequence.computed_len(), 5);  // the new token has no row yet
  EXPECT_EQ(sequence.CommitToken(21, end_tokens), std::nullopt);
  EXPECT_EQ(sequence.computed_len(), 6);
  EXPECT_EQ(sequence.CommitToken(22, end_tokens), FinishReason::kMaxOutputTokens);
  EXPECT_EQ(sequence.output_len(), 3);
  EXPECT_EQ(sequence.tokens().data(), storage);  // spans of it stay valid
}

TEST(SequenceTest, EndTokenWinsOverTheBudget) {
  Sequence sequence(1, {}, {10}, {.max_output = 1});
  sequence.CommitPrefill(1, {});
  EXPECT_EQ(sequence.CommitToken(99, std::vector<TokenId>{99}), FinishReason::kEndOfSequence);
}

TEST(SequenceTest, PagesGoBackWhenItGoes) {
  PagePool pool(4);
  {
    Sequence sequence(1, {}, {10}, {.max_output = 1});
    sequence.Start(PageTable(&pool, *pool.Allocate(3)));
    EXPECT_EQ(pool.n_free(), 1);
  }
  EXPECT_EQ(pool.n_free(), 4);
}

}  // namespace
}  // namespace keyhole
