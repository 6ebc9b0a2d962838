// Rank 0's executor and a worker's loop over fake models.
#include "engine/runtime/parallel_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "engine/runtime/parallel_worker.h"
#include "tests/unit/parallel/rank_threads.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RunRanks;

constexpr absl::Duration kNoBeat = absl::Hours(1);

class FakeModel final : public StepExecutor {
 public:
  std::function<absl::StatusOr<StepResult>()> run = [] { return StepResult(); };

  absl::StatusOr<StepResult> Run(const ModelInput& input) override {
    log.push_back("step of " + std::to_string(input.token_ids.size()));
    return run();
  }
  void Discard(PageId page) override { log.push_back("discard " + std::to_string(page)); }

  std::vector<std::string> log;
};

ModelInput Step(std::int32_t n_tokens) {
  ModelInput input;
  input.token_ids.resize(n_tokens);
  input.positions.resize(n_tokens);
  return input;
}

absl::StatusOr<StepResult> Selected(std::uint64_t hash) {
  StepResult result;
  result.selection_hash = hash;
  return result;
}

struct Ranks {
  std::function<void(ParallelExecutor& executor, FakeModel& model)> root;
  std::function<void(ProcessGroup& group, FakeModel& model)> worker;
  absl::Duration beat = kNoBeat;
};

void RunBoth(const Ranks& ranks) {
  RunRanks(2, [&ranks](std::unique_ptr<ProcessGroup> group) {
    auto model = std::make_unique<FakeModel>();
    if (!group->shard().is_root()) return ranks.worker(*group, *model);
    FakeModel& seen = *model;
    ParallelExecutor executor(std::move(group), std::move(model), ranks.beat);
    ranks.root(executor, seen);
  });
}

TEST(ParallelExecutor, AWorkerRunsWhatRankZeroRunsAndEndsWithIt) {
  RunBoth({.root =
               [](ParallelExecutor& executor, FakeModel& model) {
                 EXPECT_TRUE(executor.Run(Step(5)).ok());
                 executor.Discard(7);
                 EXPECT_TRUE(executor.Run(Step(1)).ok());
                 EXPECT_THAT(model.log, ElementsAre("step of 5", "discard 7", "step of 1"));
                 executor.Close();
                 EXPECT_TRUE(executor.health().ok());
                 EXPECT_TRUE(absl::IsUnavailable(executor.Run(Step(1)).status()));
               },
           .worker =
               [](ProcessGroup& group, FakeModel& model) {
                 EXPECT_EQ(ServeSteps(group, model), absl::OkStatus());
                 EXPECT_THAT(model.log, ElementsAre("step of 5", "discard 7", "step of 1"));
               }});
}

TEST(ParallelExecutor, AWorkerThatFailsFailsTheStepAndAllLaterOnes) {
  RunBoth({.root =
               [](ParallelExecutor& executor, FakeModel& model) {
                 const absl::Status status = executor.Run(Step(2)).status();
                 EXPECT_TRUE(absl::IsUnavailable(status)) << status;
                 EXPECT_THAT(std::string(status.message()), HasSubstr("rank 0 of 2"));
                 EXPECT_EQ(executor.health(), status);
                 EXPECT_EQ(executor.Run(Step(2)).status(), status);
                 EXPECT_EQ(model.log.size(), 1U);
               },
           .worker =
               [](ProcessGroup& group, FakeModel& model) {
                 model.run = [] { return absl::InternalError("broken"); };
                 EXPECT_EQ(ServeSteps(group, model), absl::InternalError("broken"));
                 group.Leave();
               }});
}

TEST(ParallelExecutor, WhereRankZeroFailsTheWorkerEnds) {
  RunBoth({.root =
               [](ParallelExecutor& executor, FakeModel& model) {
                 model.run = [] { return absl::InternalError("broken"); };
                 EXPECT_EQ(executor.Run(Step(2)).status(), absl::InternalError("broken"));
                 EXPECT_EQ(executor.health(), absl::InternalError("broken"));
               },
           .worker =
               [](ProcessGroup& group, FakeModel& model) {
                 const absl::Status status = ServeSteps(group, model);
                 EXPECT_TRUE(absl::IsUnavailable(status)) << status;
               }});
}

TEST(ParallelExecutor, OtherRowsOnOneRankFailTheStepOnBoth) {
  const std::string text = "rank 1 selected other rows than rank 0";
  RunBoth({.root =
               [&text](ParallelExecutor& executor, FakeModel& model) {
                 model.run = [] { return Selected(1); };
                 const absl::Status status = executor.Run(Step(2)).status();
                 EXPECT_TRUE(absl::IsInternal(status)) << status;
                 EXPECT_THAT(std::string(status.message()), HasSubstr(text));
                 EXPECT_FALSE(executor.health().ok());
               },
           .worker =
               [&text](ProcessGroup& group, FakeModel& model) {
                 model.run = [] { return Selected(2); };
                 const absl::Status status = ServeSteps(group, model);
                 EXPECT_TRUE(absl::IsInternal(status)) << status;
                 EXPECT_THAT(std::string(status.message()), HasSubstr(text));
               }});
}

TEST(ParallelExecutor, WithNothingToDoItPingsAndMissesWhoGoes) {
  RunBoth({.root =
               [](ParallelExecutor& executor, FakeModel&) {
                 const absl::Time deadline = absl::Now() + absl::Seconds(50);
                 while (executor.health().ok() && absl::Now() < deadline) {
                   absl::SleepFor(absl::Milliseconds(1));
                 }
                 EXPECT_TRUE(absl::IsUnavailable(executor.health())) << executor.health();
               },
           .worker =
               [](ProcessGroup& group, FakeModel&) {
                 StepDecoder decoder;
                 for (int i = 0; i < 3; ++i) {
                   std::string bytes;
                   ASSERT_TRUE(group.Broadcast(bytes).ok());
                   const auto message = decoder.Decode(bytes);
                   ASSERT_TRUE(message.ok()) << message.status();
                   EXPECT_EQ(message->kind, MessageKind::kPing);
                   ASSERT_TRUE(group.Exchange(0).ok());
                 }
                 group.Leave();
               },
           .beat = absl::Milliseconds(10)});
}

}  // namespace
}  // namespace keyhole
