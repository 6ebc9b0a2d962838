#include "server/convert_response.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/request_bounds.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;

TEST(FillFinishedTest, EveryFieldArrives) {
  FinishedEvent event;
  event.reason = FinishReason::kStopSequence;
  event.matched_stop = "end";
  event.prompt_tokens = 7;
  event.cached_prompt_tokens = 4;
  event.output_tokens = 3;
  event.queue_time = absl::Milliseconds(1500);
  event.prefill_time = absl::Nanoseconds(1);
  event.decode_time = absl::Seconds(2);
  event.selection = SelectionStats{
      .steps = 5, .mean_selected_tokens = 2.5, .selection_time = absl::Milliseconds(10)};
  v1::Finished message;
  FillFinished(event, &message);
  EXPECT_EQ(message.finish_reason(), v1::FINISH_REASON_STOP_SEQUENCE);
  EXPECT_EQ(message.matched_stop(), "end");
  EXPECT_EQ(message.usage().total_token_count(), 10);
  EXPECT_EQ(message.usage().cached_prompt_token_count(), 4);
  EXPECT_EQ(message.timings().queue().seconds(), 1);
  EXPECT_EQ(message.timings().queue().nanos(), 500'000'000);
  EXPECT_EQ(message.timings().prefill().nanos(), 1);
  EXPECT_EQ(message.selection().step_count(), 5);
}

TEST(FillFinishedTest, EveryReasonHasAValue) {
  for (const FinishReason reason : {FinishReason::kEndOfSequence,
                                    FinishReason::kStopSequence,
                                    FinishReason::kStopToken,
                                    FinishReason::kMaxOutputTokens,
                                    FinishReason::kContextLength,
                                    FinishReason::kTimeLimit,
                                    FinishReason::kDrained}) {
    FinishedEvent event;
    event.reason = reason;
    v1::Finished message;
    FillFinished(event, &message);
    EXPECT_NE(message.finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
    EXPECT_FALSE(message.has_selection()) << "only if asked for";
  }
}

TEST(AppendTest, TokensThatWaitJoinTheChunk) {
  ChunkEvent chunk{.text = "a", .token_ids = {1}, .logprobs = {TokenInfo{}}, .prompt_logprobs = {}};
  Append(ChunkEvent{.text = "b", .token_ids = {2, 3}, .logprobs = {{}, {}}, .prompt_logprobs = {}},
         &chunk);
  EXPECT_EQ(chunk.text, "ab");
  EXPECT_THAT(chunk.token_ids, ElementsAre(1, 2, 3));
  EXPECT_EQ(chunk.logprobs.size(), 3);
}

TEST(FillModelTest, TellsEveryLimit) {
  ModelInfo model;
  model.name = "tiny";
  model.max_context = 100;
  model.max_prompt = 99;
  model.policy = "full";
  model.selection = {.initial = 1, .local = 2, .selected = 3};
  model.max_output = 50;
  model.default_max_output = 25;
  model.max_prompt_logprobs = 10;
  model.max_selected = 20;
  model.kv_capacity = std::int64_t{1} << 33;
  model.config.vocab_size = 300;
  EngineConfig config;
  config.scheduler.max_context = 1 << 20;
  v1::GetModelResponse message;
  FillModel(model, config, &message);
  const auto* limits = v1::Limits::descriptor();
  for (int i = 0; i < limits->field_count(); ++i) {
    EXPECT_TRUE(message.limits().GetReflection()->HasField(message.limits(), limits->field(i)))
        << limits->field(i)->name();
  }
  EXPECT_EQ(message.limits().max_receive_bytes(), MaxReceiveBytes(1 << 20));
  EXPECT_EQ(message.limits().kv_capacity_tokens(), std::int64_t{1} << 33);
  EXPECT_EQ(message.vocabulary_size(), 300);
  EXPECT_EQ(message.selection().policy(), "full");
  EXPECT_EQ(message.selection().initial_tokens(), 1);
  EXPECT_EQ(message.selection().local_tokens(), 2);
  EXPECT_EQ(message.selection().selected_tokens(), 3);
  EXPECT_FALSE(message.server_version().empty());
}

}  // namespace
}  // namespace keyhole
