// The step loop alone: one thread, a clock that stands still, steps that are done when the test
// says.
#include "engine/runtime/step_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/request/error.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"
#include "tests/support/manual_runner.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using testing::FakeClock;
using testing::FakeExecutor;
using testing::FakeModelOptions;
using ::testing::IsEmpty;
using testing::ManualRunner;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr TokenId kEnd = 257;

// Keeps the events of each request as short words.
class RecordingOutput final : public StreamOutput {
 public:
  void Send(RequestId id, StreamEvent event) override {
    if (const auto* start = std::get_if<StartEvent>(&event)) {
      cached[id] = start->started.cached_prompt_tokens;
      words[id].push_back("start");
    } else if (const auto* progress = std::get_if<ProgressEvent>(&event)) {
      words[id].push_back("progress " + std::to_string(progress->done_tokens));
    } else if (const auto* token = std::get_if<TokenEvent>(&event)) {
      words[id].push_back("token");
      n_scored += token->prompt_logprobs.size();
    } else {
      const auto& end = std::get<EndEvent>(event);
      words[id].push_back("end");
      ends[id] = end;
    }
  }

  std::map<RequestId, std::vector<std::string>> words;
  std::map<RequestId, EndEvent> ends;
  std::map<RequestId, std::int32_t> cached;  // of the prompts of those that started
  std::size_t n_scored = 0;
};

class RecordingObserver final : public EngineObserver {
 public:
  void OnStep(const StepRecord&) override { ++n_steps; }
  void OnInterToken(absl::Duration) override {}
  void OnRequestEnd(const RequestRecord&) override {}
  void OnSequenceFailure(RequestId id, const absl::Status& cause) override {
    failures[id] = std::string(cause.message());
  }

  int n_steps = 0;
  std::map<RequestId, std::string> failures;
};

class StepLoopTest : public ::testing::Test {
 protected:
  StepLoopTest() { Reset({}); }

  void Reset(FakeModelOptions model, PrefixCacheSettings prefix_cache = {}) {
    model.page_size = 4;
    model.chunking.chunk_size = 8;
    executor_ = std::make_unique<FakeExecutor>(std::move(model));
    runner_ = std::make_unique<ManualRunner>(executor_.get());
    registry_ = std::make_unique<RequestRegistry>(AdmissionLimits{
        .page_size = 4, .n_pages = 16, .max_queued_requests = 8, .max_queued_tokens = 1000});
    loop_ =
        std::make_unique<StepLoop>(SchedulerLimits{.chunking = {.chunk_size = 8}, .page_size = 4},
                                   StepLoopContext{.clock = &clock_,
                                                   .pool = &pool_,
                                                   .runner = runner_.get(),
                                                   .output = &output_,
                                                   .registry = registry_.get(),
                                                   .observer = &observer_,
                                                   .end_tokens = {kEnd},
                                                   .prefix_cache = std::move(prefix_cache)});
  }

  // A loop of the same parts whose steps run elsewhere.
  StepLoop LoopOver(StepRunner& runner) {
    return StepLoop(SchedulerLimits{.chunking = {.chunk_size = 8}, .page_size = 4},
                    StepLoopContext{.clock = &clock_,
                                    .pool = &pool_,
                                    .runner = &runner,
                                    .output = &output_,
                                    .registry = registry_.get(),
                                    .observer = nullptr,
                                    .end_tokens = {},
                                    .prefix_cache = {}});
  }

  RequestId Arrive(std::int32_t prompt_len, Request request = {}) {
    const RequestId id = *registry_->Open("");
    std::vector<TokenId> prompt(prompt_len, 'x');
    EXPECT_TRUE(registry_->Admit(id, {.prompt_len = prompt_len, .max_output = 8}).ok());
    auto sequence = std::make_unique<Sequence>(
        id, std::move(request), std::move(prompt), OutputBudget{.max_output = 8});
    sequence->submitted = clock_.Now();
    mail_.arrivals.push_back(std::move(sequence));
    return id;
  }

  void Turn() {
    loop_->Turn(std::exchange(mail_, {}));
    EXPECT_THAT(loop_->CheckInvariants(), IsEmpty());
    EXPECT_THAT(executor_->violations(), IsEmpty());
  }

  // A turn, and the step that it submitted.
  void Step() {
    Turn();
    if (runner_->running()) runner_->Complete();
  }

  std::string ReasonOf(RequestId id) { return GetErrorDetail(output_.ends.at(id).status).reason; }

  FakeClock clock_;
  PagePool pool_{16};
  RecordingOutput output_;
  RecordingObserver observer_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<ManualRunner> runner_;
  std::unique_ptr<RequestRegistry> registry_;
  std::unique_ptr<StepLoop> loop_;
  EngineMail mail_;
};

TEST_F(StepLoopTest, RunsARequestToItsEnd) {
  const RequestId id = Arrive(3);
  for (int i = 0; i < 6; ++i) Step();
  EXPECT_THAT(output_.words[id], ElementsAre("start", "token", "token", "token", "token", "end"));
  EXPECT_EQ(output_.ends[id].reason, FinishReason::kEndOfSequence);
  EXPECT_TRUE(loop_->idle());
  EXPECT_EQ(pool_.n_used(), 0);
}

TEST_F(StepLoopTest, CancelledInAStepKeepsItsPagesUntilTheStepIsBack) {
  const RequestId id = Arrive(3);
  Turn();
  ASSERT_TRUE(runner_->running());
  mail_.cancelled.push_back(id);
  Turn();
  EXPECT_EQ(ReasonOf(id), reason::kCancelled);  // told at once
  EXPECT_EQ(pool_.n_used(), 3);
  runner_->Complete();
  Turn();
  EXPECT_EQ(pool_.n_used(), 0);
  EXPECT_THAT(output_.words[id], ElementsAre("start", "end"));  // and nothing after
}

TEST_F(StepLoopTest, CancelledBetweenStepsIsFreeAtOnce) {
  const RequestId first = Arrive(20);
  const RequestId second = Arrive(20);
  Step();
  Turn();  // a step of one of them runs
  const RequestId running = runner_->input().sequences[0].id;
  mail_.cancelled.push_back(running == first ? second : first);
  const std::int32_t used = pool_.n_used();
  Turn();
  EXPECT_EQ(pool_.n_used(), used / 2);
}

TEST_F(StepLoopTest, CancelBeforeArrivalIsNotLost) {
  const RequestId id = Arrive(3);
  registry_->Cancel(id);
  Turn();
  EXPECT_EQ(ReasonOf(id), reason::kCancelled);
  EXPECT_EQ(executor_->n_steps(), 0);
  EXPECT_TRUE(loop_->idle());
}

TEST_F(StepLoopTest, DeadlineInTheQueueInPrefillAndInDecode) {
  Request request;
  request.deadline = clock_.Now() + absl::Seconds(1);
  const RequestId decoding = Arrive(3, request);
  Step();
  const RequestId prefilling = Arrive(24, request);
  Step();
  const RequestId waiting = Arrive(40, request);  // no pages for it yet
  Step();
  EXPECT_EQ(loop_->next_deadline(), request.deadline);
  EXPECT_THAT(output_.words[waiting], IsEmpty());
  clock_.Advance(absl::Seconds(1));
  Step();
  Step();
  for (const RequestId id : {decoding, prefilling, waiting}) {
    EXPECT_EQ(output_.ends.at(id).status.code(), absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_EQ(pool_.n_used(), 0);
}

TEST_F(StepLoopTest, TimeLimitIsNoError) {
  Request request;
  request.stopping.time_limit = absl::Seconds(1);
  const RequestId running = Arrive(3, request);
  Step();
  const RequestId waiting = Arrive(50, request);
  Step();
  clock_.Advance(absl::Seconds(1));
  Step();
  for (const RequestId id : {running, waiting}) {
    EXPECT_TRUE(output_.ends.at(id).status.ok());
    EXPECT_EQ(output_.ends.at(id).reason, FinishReason::kTimeLimit);
    EXPECT_EQ(output_.words[id].front(), "start");
  }
}

TEST_F(StepLoopTest, DrainEndsWhatStartedAndRefusesWhatWaits) {
  const RequestId running = Arrive(3);
  const RequestId waiting = Arrive(52);
  Step();
  mail_.drain_deadline = clock_.Now() + absl::Seconds(5);
  Step();
  EXPECT_THAT(output_.ends, IsEmpty());
  clock_.Advance(absl::Seconds(5));
  Step();
  Step();
  EXPECT_EQ(output_.ends.at(running).reason, FinishReason::kDrained);
  EXPECT_EQ(ReasonOf(waiting), reason::kDraining);
  EXPECT_THAT(output_.words[waiting], ElementsAre("end"));  // may be retried elsewhere
  EXPECT_TRUE(loop_->idle());
}

TEST_F(StepLoopTest, AFailedStepFailsItsSequencesAndTheLoopGoesOn) {
  Reset({.before_step = [](std::int64_t step) {
    return step == 1 ? absl::InternalError("cause") : absl::OkStatus();
  }});
  const RequestId first = Arrive(3);
  Step();
  Step();
  const RequestId second = Arrive(3);
  for (int i = 0; i < 8; ++i) Step();
  EXPECT_EQ(ReasonOf(first), reason::kInternal);
  EXPECT_TRUE(output_.ends.at(second).status.ok());
  EXPECT_EQ(pool_.n_used(), 0);
}

TEST_F(StepLoopTest, AFailedSequenceFailsAlone) {
  Reset({.before_sequence = [](const SequenceSlice& slice) {
    return slice.id == 2 ? absl::InternalError("cause") : absl::OkStatus();
  }});
  const RequestId first = Arrive(3);
  const RequestId second = Arrive(3);
  for (int i = 0; i < 12; ++i) Step();
  EXPECT_TRUE(output_.ends.at(first).status.ok());
  EXPECT_EQ(ReasonOf(second), reason::kInternal);
  EXPECT_EQ(output_.ends.at(second).status.message(), InternalError().message());
  EXPECT_THAT(observer_.failures, ElementsAre(Pair(second, "cause")));  // for the log alone
}

TEST_F(StepLoopTest, AStepWithoutRoomTellsItsClientsOfTheMemory) {
  Reset({.before_step = [](std::int64_t step) {
    return step == 1 ? absl::ResourceExhaustedError("cause") : absl::OkStatus();
  }});
  const RequestId id = Arrive(3);
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_EQ(ReasonOf(id), reason::kKvCapacity);
  EXPECT_EQ(output_.ends.at(id).status.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(StepLoopTest, ProgressAtMostOnceASecond) {
  Request request;
  request.output.report_progress = true;
  const RequestId id = Arrive(56, request);
  for (int i = 0; i < 8; ++i) {
    Step();
    clock_.Advance(absl::Milliseconds(400));
  }
  // Chunks end at 8, 16, ... every 400 ms; the third is the first a second after the start.
  EXPECT_THAT(output_.words[id], ElementsAre("start", "progress 24", "progress 48", "token"));
}

TEST_F(StepLoopTest, PromptLogprobsComeWithTheFirstToken) {
  Request request;
  request.output.prompt_logprobs = PromptLogprobRange{.first = 5, .count = 12};
  Arrive(20, request);
  for (int i = 0; i < 5; ++i) Step();
  EXPECT_EQ(output_.n_scored, 12);
}

TEST_F(StepLoopTest, AStopStringEndsItSilently) {
  const RequestId id = Arrive(3);
  Step();
  mail_.stopped.push_back(id);
  Step();
  Step();
  EXPECT_THAT(output_.words[id], ElementsAre("start"));
  EXPECT_TRUE(loop_->idle());
}

TEST_F(StepLoopTest, TheExecutorIsToldWhatEnded) {
  const RequestId first = Arrive(3);
  const RequestId second = Arrive(3);
  for (int i = 0; i < 3; ++i) Step();
  mail_.cancelled.push_back(first);
  Turn();
  EXPECT_THAT(runner_->input().ended, ElementsAre(first));
  EXPECT_THAT(runner_->input().sequences, SizeIs(1));
  EXPECT_EQ(runner_->input().sequences[0].id, second);
}

TEST_F(StepLoopTest, AnIdleExecutorIsToldAtOnceAndOnce) {
  const RequestId id = Arrive(3);
  while (!output_.ends.contains(id)) {
    if (runner_->running()) runner_->Complete();
    Turn();
  }
  EXPECT_THAT(runner_->input().ended, ElementsAre(id));
  EXPECT_THAT(runner_->input().sequences, IsEmpty());
  const int n_observed = observer_.n_steps;
  runner_->Complete();
  const std::int64_t n_steps = executor_->n_steps();
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_EQ(executor_->n_steps(), n_steps);
  EXPECT_EQ(observer_.n_steps, n_observed);  // it is no step of anyone's
  EXPECT_TRUE(loop_->idle());
}

TEST_F(StepLoopTest, WhatNeverReachedTheExecutorIsNotItsBusiness) {
  const RequestId id = Arrive(3);
  mail_.cancelled.push_back(id);
  Turn();
  EXPECT_FALSE(runner_->running());
  EXPECT_TRUE(loop_->idle());
}

TEST_F(StepLoopTest, AResultOfAnotherStepReachesNobody) {
  class Liar final : public StepExecutor {
   public:
    absl::StatusOr<StepResult> Run(const ModelInput&) override { return StepResult{}; }
  } liar;
  ManualRunner runner(&liar);
  StepLoop loop = LoopOver(runner);
  const RequestId id = Arrive(3);
  loop.Turn(std::exchange(mail_, {}));
  runner.Complete();
  loop.Turn({});
  EXPECT_EQ(ReasonOf(id), reason::kInternal);
  runner.Complete();
  loop.Turn({});
  EXPECT_TRUE(loop.idle());
}

TEST_F(StepLoopTest, ACachedPrefixIsNotComputedAgain) {
  Reset({}, {.max_pages = 8});
  const RequestId cold = Arrive(20);
  for (int i = 0; i < 12; ++i) Step();
  EXPECT_TRUE(output_.ends.at(cold).status.ok());
  EXPECT_EQ(pool_.n_used(), 4);  // two chunks of two pages
  EXPECT_EQ(loop_->status().pages_used, 0);
  const RequestId warm = Arrive(20);
  Turn();
  EXPECT_EQ(output_.cached[cold], 0);
  EXPECT_EQ(output_.cached[warm], 16);
  EXPECT_EQ(runner_->input().sequences[0].kv_len, 16);
  EXPECT_EQ(loop_->status().pages_used, 7);
  EXPECT_EQ(loop_->status().prefix_cache.hit_tokens, 16);
  for (int i = 0; i < 12; ++i) Step();
  EXPECT_EQ(output_.words[warm], output_.words[cold]);
}

TEST_F(StepLoopTest, AStepThatFailedPublishesNothing) {
  Reset({.before_step =
             [](std::int64_t step) {
               return step == 1 ? absl::InternalError("cause") : absl::OkStatus();
             }},
        {.max_pages = 8});
  Arrive(30);
  for (int i = 0; i < 4; ++i) Step();
  EXPECT_EQ(loop_->status().prefix_cache.pages, 2);  // of the chunk before
  const RequestId second = Arrive(30);
  Step();
  EXPECT_EQ(output_.cached[second], 8);
}

TEST_F(StepLoopTest, ACancelInMidPrefillLeavesWhatWasCommitted) {
  Reset({}, {.max_pages = 8});
  const RequestId id = Arrive(30);
  Step();
  Turn();
  mail_.cancelled.push_back(id);
  Turn();
  EXPECT_EQ(loop_->status().prefix_cache.pages, 2);
  runner_->Complete();
  Turn();
  EXPECT_EQ(pool_.n_used(), 2);
}

TEST_F(StepLoopTest, DeadlinesAreCheckedAgainstWhatIsToCompute) {
  Reset({}, {.max_pages = 16});
  Arrive(56);
  for (int i = 0; i < 8; ++i) {
    Turn();
    clock_.Advance(absl::Seconds(1));  // 8 tokens a second
    runner_->Complete();
  }
  for (int i = 0; i < 12; ++i) Step();
  Request request;
  request.deadline = clock_.Now() + absl::Seconds(3);
  const RequestId warm = Arrive(56, request);
  Step();
  EXPECT_EQ(output_.cached[warm], 48);
  request.cache_scope = "another";
  const RequestId cold = Arrive(48, request);
  Step();
  EXPECT_EQ(ReasonOf(cold), reason::kDeadlineUnattainable);
}

TEST_F(StepLoopTest, ATokenThatNobodyAskedForFailsItsSequence) {
  class Eager final : public StepExecutor {
   public:
    absl::StatusOr<StepResult> Run(const ModelInput& input) override {
      StepResult result;
      for (const SequenceSlice& slice : input.sequences) {
        SequenceResult& sequence = result.sequences.emplace_back();
        sequence.id = slice.id;
        sequence.sampled = !slice.sample;
      }
      return result;
    }
  } eager;
  ManualRunner runner(&eager);
  StepLoop loop = LoopOver(runner);
  const RequestId early = Arrive(20);  // a token in mid-prompt
  const RequestId missing = Arrive(3);
  loop.Turn(std::exchange(mail_, {}));
  while (!output_.ends.contains(early) || !output_.ends.contains(missing)) {
    ASSERT_TRUE(runner.running());
    runner.Complete();
    loop.Turn({});
  }
  EXPECT_EQ(ReasonOf(early), reason::kInternal);
  EXPECT_EQ(ReasonOf(missing), reason::kInternal);
}

TEST_F(StepLoopTest, TheNextTurnIsDueAtTheFirstDeadlineOfAll) {
  EXPECT_EQ(loop_->next_deadline(), absl::InfiniteFuture());
  Request request;
  request.deadline = clock_.Now() + absl::Seconds(9);
  request.stopping.time_limit = absl::Seconds(7);
  Arrive(3, request);
  Turn();
  EXPECT_EQ(loop_->next_deadline(), clock_.Now() + absl::Seconds(7));
  mail_.drain_deadline = clock_.Now() + absl::Seconds(5);
  Turn();
  EXPECT_EQ(loop_->next_deadline(), clock_.Now() + absl::Seconds(5));
}

TEST_F(StepLoopTest, AdmissionLearnsTheSpeedOfPrefill) {
  Arrive(8);
  Turn();
  clock_.Advance(absl::Seconds(2));
  runner_->Complete();
  Turn();  // 8 tokens in 2 s
  const RequestId id = *registry_->Open("");
  ASSERT_TRUE(registry_->Admit(id, {.prompt_len = 12, .max_output = 1}).ok());
  EXPECT_EQ(GetErrorDetail(registry_->Arrive(id, 12, absl::Milliseconds(2900))).reason,
            reason::kDeadlineUnattainable);
  EXPECT_TRUE(registry_->Arrive(id, 12, absl::Milliseconds(3100)).ok());
}

TEST_F(StepLoopTest, SettingTheClockChangesNothingThatIsMeasured) {
  Request request;
  request.output.report_progress = true;
  const RequestId id = Arrive(20, request);
  Turn();
  clock_.Advance(absl::Seconds(2));
  clock_.Set(-absl::Hours(1));
  runner_->Complete();
  Turn();  // 8 tokens in 2 s
  EXPECT_THAT(output_.words[id], ElementsAre("start", "progress 8"));
  const RequestId behind = *registry_->Open("");
  ASSERT_TRUE(registry_->Admit(behind, {.prompt_len = 12, .max_output = 1}).ok());
  EXPECT_EQ(GetErrorDetail(registry_->Arrive(behind, 12, absl::Milliseconds(5900))).reason,
            reason::kDeadlineUnattainable);
  EXPECT_TRUE(registry_->Arrive(behind, 12, absl::Milliseconds(6100)).ok());
  EXPECT_EQ(loop_->status().heartbeat, clock_.Monotonic());
}

TEST_F(StepLoopTest, EndAllLeavesNothing) {
  const RequestId running = Arrive(3);
  const RequestId waiting = Arrive(52);
  Turn();
  loop_->EndAll();
  EXPECT_EQ(output_.ends.at(running).reason, FinishReason::kDrained);
  EXPECT_EQ(ReasonOf(waiting), reason::kDraining);
  runner_->Complete();
  Step();
  Turn();
  EXPECT_TRUE(loop_->idle());
}

}  // namespace
}  // namespace keyhole
