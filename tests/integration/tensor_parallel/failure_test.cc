// Ranks that die, hang or were started wrongly: an error in bounded time on every side.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>

#include "absl/time/clock.h"
#include "tests/integration/tensor_parallel/engine_ranks.h"

namespace keyhole::testing {
namespace {

using ::testing::HasSubstr;

EngineConfig ConfigOfRoot(std::int32_t size) {
  EngineConfig config = SmallConfig();
  config.tensor_parallel = RankSettings(size);
  return config;
}

bool WaitUntil(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kDeadline;
  while (absl::Now() < deadline) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return condition();
}

// A worker that gets a signal in the midst of an answer.
void ExpectAnEndAfter(int signal, const EngineConfig& config) {
  const auto worker = StartRank(config.tensor_parallel, 1, "work");
  const auto engine = Engine::Create(config, nullptr);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto running = Ask(**engine, SmallRequest(SmallPrompt(100), 3900));
  ASSERT_TRUE(WaitUntil([&] { return !running->events().chunks.empty(); }));
  worker->Signal(signal);
  ASSERT_TRUE(running->WaitForEnd(kDeadline)) << "the request hangs";
  ASSERT_TRUE(running->events().failed.has_value());
  EXPECT_TRUE(absl::IsInternal(*running->events().failed)) << *running->events().failed;
  const absl::Status failure = (*engine)->Snapshot().failure;
  EXPECT_THAT(std::string(failure.message()), HasSubstr("tensor parallel"));
  // For good.
  const auto next = Ask(**engine, SmallRequest(SmallPrompt(20), 4));
  EXPECT_TRUE(next->WaitForEnd(kDeadline));
  EXPECT_TRUE(next->events().failed.has_value());
}

// Long before the time is over that a rank is waited for.
TEST(Ranks, AKilledWorkerFailsTheStep) { ExpectAnEndAfter(SIGKILL, ConfigOfRoot(2)); }

TEST(Ranks, AWorkerThatHangsFailsTheStepAfterTheTimeout) {
  EngineConfig config = ConfigOfRoot(2);
  config.tensor_parallel.timeout = absl::Seconds(3);
  ExpectAnEndAfter(SIGSTOP, config);
}

TEST(Ranks, AWorkerWhoseRootIsKilledEndsWithAnError) {
  const TensorParallelSettings settings = ConfigOfRoot(2).tensor_parallel;
  const std::string ready = ::testing::TempDir() + "/ready-" + std::to_string(getpid());
  const auto root = StartRank(settings, 0, "serve", {"ready=" + ready});
  const auto worker = StartRank(settings, 1, "work");
  ASSERT_TRUE(WaitUntil([&] { return std::filesystem::exists(ready); }));
  std::filesystem::remove(ready);
  root->Signal(SIGKILL);
  EXPECT_EQ(worker->Wait(kDeadline), 1);
}

TEST(Ranks, AnotherModelIsRefusedOnBothSides) {
  const EngineConfig config = ConfigOfRoot(2);
  const auto worker = StartRank(config.tensor_parallel, 1, "work", {"model=synthetic:tiny,seed=9"});
  const absl::Status status = Engine::Create(config, nullptr).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("revision="));
  EXPECT_EQ(worker->Wait(kDeadline), 1);
}

TEST(Ranks, AnotherSettingIsRefusedOnBothSides) {
  const EngineConfig config = ConfigOfRoot(2);
  const auto worker = StartRank(config.tensor_parallel, 1, "work", {"chunk_size=64"});
  const absl::Status status = Engine::Create(config, nullptr).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("chunk_size=32"));
  EXPECT_EQ(worker->Wait(kDeadline), 1);
}

TEST(Ranks, PagesAreAsManyAsTheSmallestRankHolds) {
  const EngineConfig config = ConfigOfRoot(2);
  const auto worker = StartRank(config.tensor_parallel, 1, "work", {"kv_memory=400000"});
  const auto engine = Engine::Create(config, nullptr);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const EngineSnapshot snapshot = (*engine)->Snapshot();
  EXPECT_EQ(snapshot.kv_pages, 400000 / snapshot.kv_page_bytes);
}

TEST(Ranks, HeadsThatDoNotDivideAreRefusedBeforeAnyWait) {
  const EngineConfig config = ConfigOfRoot(3);
  const absl::Status status = Engine::Create(config, nullptr).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("2 KV heads"));
}

TEST(Ranks, APolicyOverWholeKeysIsRefused) {
  EngineConfig config = ConfigOfRoot(2);
  config.selection.policy = "esa-exact";
  const absl::Status status = Engine::Create(config, nullptr).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("esa-exact"));
}

TEST(Ranks, ARankAboveZeroIsNoEngine) {
  EngineConfig config = ConfigOfRoot(2);
  config.tensor_parallel.rank = 1;
  EXPECT_TRUE(absl::IsInvalidArgument(Engine::Create(config, nullptr).status()));
}

}  // namespace
}  // namespace keyhole::testing
