#include "engine/batch/batch_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "engine/kv/page_pool.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr std::int32_t kPageSize = 4;

std::vector<TokenId> Count(std::int32_t from, std::int32_t n) {
  std::vector<TokenId> tokens(n);
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

TEST(BatchBuilderTest, PacksDecodeRowsThenTheChunk) {
  PagePool pool(16);
  Request decode_request;
  decode_request.stopping.min_output_tokens = 3;
  Sequence decoding(1, decode_request, Count(100, 3), {.max_output = 5});
  decoding.Start(PageTable(&pool, *pool.Allocate(2)));
  decoding.CommitPrefill(3, {});
  decoding.CommitToken(7, {});

  Request prefill_request;
  prefill_request.output.prompt_logprobs = PromptLogprobRange{.first = 7, .count = 4};
  Sequence prefilling(2, prefill_request, Count(200, 12), {.max_output = 4});
  prefilling.Start(PageTable(&pool, *pool.Allocate(4)));
  prefilling.CommitPrefill(4, {});

  StepPlan plan;
  plan.decode = {&decoding};
  plan.prefill = PrefillChunk{.sequence = &prefilling, .tokens = {4, 4}};
  const auto input = BuildModelInput(plan, kPageSize, {9});
  ASSERT_TRUE(input.ok()) << input.status();

  EXPECT_THAT(input->token_ids, ElementsAre(7, 204, 205, 206, 207));
  EXPECT_THAT(input->positions, ElementsAre(3, 4, 5, 6, 7));
  EXPECT_THAT(input->ended, ElementsAre(9));
  ASSERT_THAT(input->sequences, SizeIs(2));

  const SequenceSlice& decode = input->sequences[0];
  EXPECT_EQ(decode.id, 1);
  EXPECT_EQ(decode.kv_len, 3);
  EXPECT_EQ(decode.q_len, 1);
  EXPECT_TRUE(decode.sample);
  EXPECT_TRUE(decode.forbid_end);
  EXPECT_THAT(decode.tokens, SizeIs(4));

  const SequenceSlice& chunk = input->sequences[1];
  EXPECT_EQ(chunk.q_begin, 1);
  EXPECT_EQ(chunk.q_len, 4);
  EXPECT_EQ(chunk.kv_len, 4);
  EXPECT_FALSE(chunk.sample);
  EXPECT_FALSE(chunk.forbid_end);
  EXPECT_THAT(chunk.tokens, SizeIs(12));     // the target of the last row is in the next chunk
  EXPECT_EQ(chunk.prompt_logprob_first, 2);  // row 6 predicts token 7
  EXPECT_EQ(chunk.prompt_logprob_count, 2);
}

TEST(BatchBuilderTest, TheLastChunkSamples) {
  PagePool pool(16);
  Sequence sequence(1, {}, Count(0, 6), {.max_output = 2});
  sequence.Start(PageTable(&pool, *pool.Allocate(2)));
  sequence.CommitPrefill(4, {});
  StepPlan plan;
  plan.prefill = PrefillChunk{.sequence = &sequence, .tokens = {4, 2}};
  const auto input = BuildModelInput(plan, kPageSize, {});
  ASSERT_TRUE(input.ok());
  EXPECT_TRUE(input->sequences[0].sample);
}

TEST(BatchBuilderTest, MissingPagesAreABrokenInvariant) {
  PagePool pool(16);
  Sequence sequence(1, {}, Count(0, 6), {.max_output = 2});
  sequence.Start(PageTable(&pool, *pool.Allocate(1)));
  StepPlan plan;
  plan.prefill = PrefillChunk{.sequence = &sequence, .tokens = {0, 6}};
  EXPECT_EQ(BuildModelInput(plan, kPageSize, {}).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace keyhole
