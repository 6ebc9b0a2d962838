#include "engine/request/request_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/request/error.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr RequestLimits kLimits = {.vocab_size = 100,
                                   .max_context = 64,
                                   .max_output = 40,
                                   .default_max_output = 16,
                                   .max_prompt_logprobs = 8,
                                   .kv_capacity = 1000};

std::string Reason(const Request& request, std::int32_t prompt_len) {
  const std::vector<TokenId> prompt(prompt_len, 5);
  const absl::Status status = CheckRequest(request, prompt, kLimits);
  return status.ok() ? "" : GetErrorDetail(status).reason;
}

Request WithOutput(std::int32_t max_output) {
  Request request;
  request.stopping.max_output_tokens = max_output;
  return request;
}

TEST(RequestLimitsTest, PromptLength) {
  EXPECT_EQ(Reason({}, 0), reason::kInvalidParameter);
  EXPECT_EQ(Reason({}, 1), "");
  EXPECT_EQ(Reason({}, 63), "");
  EXPECT_EQ(Reason({}, 64), reason::kPromptTooLong);
}

TEST(RequestLimitsTest, OutputBudget) {
  EXPECT_EQ(Reason(WithOutput(0), 10), reason::kInvalidParameter);
  EXPECT_EQ(Reason(WithOutput(40), 10), "");
  EXPECT_EQ(Reason(WithOutput(41), 10), reason::kOutputBudgetTooLong);
  EXPECT_EQ(Reason(WithOutput(4), 60), "");
  EXPECT_EQ(Reason(WithOutput(5), 60), reason::kOutputBudgetTooLong);
}

TEST(RequestLimitsTest, MinimumIsWithinTheBudget) {
  Request request = WithOutput(4);
  request.stopping.min_output_tokens = 4;
  EXPECT_EQ(Reason(request, 10), "");
  request.stopping.min_output_tokens = 5;
  EXPECT_EQ(Reason(request, 10), reason::kInvalidParameter);
  request.stopping.min_output_tokens = -1;
  EXPECT_EQ(Reason(request, 10), reason::kInvalidParameter);
}

TEST(RequestLimitsTest, IdsAreInTheVocabulary) {
  const auto error = [](const Request& request, TokenId id) {
    return GetErrorDetail(CheckRequest(request, std::vector<TokenId>{5, id}, kLimits));
  };
  EXPECT_EQ(error({}, 100).reason, reason::kInvalidParameter);
  EXPECT_EQ(error({}, -1).field, "token_ids.ids");
  EXPECT_THAT(error({}, -1).metadata,
              ElementsAre(Pair("token_id", "-1"), Pair("vocabulary_size", "100")));
  Request request;
  request.stopping.stop_token_ids = {100};
  EXPECT_EQ(error(request, 5).field, "stopping.stop_token_ids");
  request.stopping.stop_token_ids.clear();
  request.sampling.logit_bias = {{.token = 1000}};
  EXPECT_EQ(error(request, 5).field, "sampling.logit_bias.token_id");
}

TEST(RequestLimitsTest, ScoredRange) {
  const auto reason = [](std::int32_t first, std::int32_t count) {
    Request request;
    request.output.prompt_logprobs = PromptLogprobRange{.first = first, .count = count};
    return Reason(request, 10);
  };
  EXPECT_EQ(reason(1, 8), "");
  EXPECT_EQ(reason(2, 8), "");
  EXPECT_EQ(reason(3, 8), reason::kInvalidParameter);
  EXPECT_EQ(reason(0, 1), reason::kInvalidParameter);  // nothing predicts the first token
  EXPECT_EQ(reason(1, 9), reason::kInvalidParameter);
  EXPECT_EQ(reason(1, -1), reason::kInvalidParameter);
  EXPECT_EQ(reason(2'000'000'000, 8), reason::kInvalidParameter);
}

TEST(RequestLimitsTest, BudgetIsClampedOnlyWhereItWasUnset) {
  const OutputBudget asked = ResolveOutputBudget(WithOutput(30).stopping, 10, kLimits);
  EXPECT_EQ(asked.max_output, 30);
  EXPECT_EQ(asked.when_reached, FinishReason::kMaxOutputTokens);
  const OutputBudget room = ResolveOutputBudget({}, 10, kLimits);
  EXPECT_EQ(room.max_output, 16);
  EXPECT_EQ(room.when_reached, FinishReason::kMaxOutputTokens);
  const OutputBudget clamped = ResolveOutputBudget({}, 60, kLimits);
  EXPECT_EQ(clamped.max_output, 4);
  EXPECT_EQ(clamped.when_reached, FinishReason::kContextLength);
}

}  // namespace
}  // namespace keyhole
