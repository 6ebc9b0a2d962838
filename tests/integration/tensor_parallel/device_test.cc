// Answers of a model over two ranks on the accelerator beside those of one rank there.
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/tensor_parallel/engine_ranks.h"

namespace keyhole::testing {
namespace {

constexpr std::int32_t kPromptLen = 200;

struct Split {
  std::unique_ptr<ChildProcess> worker;
  std::unique_ptr<Engine> engine;
};

class DeviceRanksTest : public ::testing::Test {
 protected:
  static EngineConfig Config(std::int32_t selected, std::int64_t device_kv_memory = 0) {
    EngineConfig config = SmallConfig();
    UseDevice(config);
    config.scheduler.max_context = 512;
    config.scheduler.max_running = 1;
    config.selection.selected = selected;
    config.device.kv_memory_bytes = device_kv_memory;
    return config;
  }

  static std::unique_ptr<Engine> Alone(const EngineConfig& config) {
    auto engine = Engine::Create(config, nullptr);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return engine.ok() ? *std::move(engine) : nullptr;
  }

  // A rank has half of each row.
  static Split OverTwo(EngineConfig config) {
    Split split;
    config.device.kv_memory_bytes /= 2;
    config.tensor_parallel = RankSettings(2);
    config.tensor_parallel.backend = RankBackend::kGloo;
    split.worker = StartRank(config.tensor_parallel,
                             1,
                             "work",
                             {"compute=cuda",
                              "max_context=512",
                              "max_running=1",
                              absl::StrCat("selected=", *config.selection.selected),
                              absl::StrCat("device_kv_memory=", config.device.kv_memory_bytes)});
    split.engine = Alone(config);
    return split;
  }

  static Request WithPromptLogprobs(std::int32_t seed) {
    Request request = SmallRequest(SmallPrompt(kPromptLen, seed), 4);
    request.output.prompt_logprobs = PromptLogprobRange{1, kPromptLen - 1};
    return request;
  }

  static std::vector<float> Logprobs(Engine& engine, std::int32_t seed) {
    const auto recording = Ask(engine, WithPromptLogprobs(seed));
    EXPECT_TRUE(recording->WaitForEnd(kDeadline));
    const Recording::Events events = recording->events();
    EXPECT_TRUE(events.finished) << events.failed.value_or(absl::OkStatus());
    std::vector<float> values;
    for (const TokenInfo& info : Infos(events)) values.push_back(info.chosen.logprob);
    return values;
  }
};

// Of random weights other rows would be chosen for less than the difference of sums in bf16, so
// that here the budget covers them all.
TEST_F(DeviceRanksTest, LogProbabilitiesAreThoseOfOneRank) {
  const EngineConfig config = Config(kPromptLen);
  const std::unique_ptr<Engine> one = Alone(config);
  ASSERT_NE(one, nullptr);
  const std::vector<float> alone = Logprobs(*one, 7);
  const Split split = OverTwo(config);
  ASSERT_NE(split.engine, nullptr);
  const std::vector<float> got = Logprobs(*split.engine, 7);
  ASSERT_EQ(got.size(), kPromptLen - 1 + 4);
  ASSERT_EQ(alone.size(), got.size());
  double square = 0;
  for (std::size_t i = 0; i + 4 < got.size(); ++i) square += std::pow(got[i] - alone[i], 2);
  EXPECT_LT(std::sqrt(square / kPromptLen), 0.05);
  EXPECT_EQ(split.engine->Snapshot().kv_pages, one->Snapshot().kv_pages);
}

// Steps compare what the ranks have selected; every residency gives the same bits.
TEST_F(DeviceRanksTest, RanksSelectTheSameRowsWhereverTheyLie) {
  std::vector<float> whole;
  {
    const Split split = OverTwo(Config(16));
    ASSERT_NE(split.engine, nullptr);
    whole = Logprobs(*split.engine, 7);
    EXPECT_EQ(split.engine->Snapshot().device_pages->fetched_bytes, 0);
  }
  // A sequence has 13 pages of 8 KB.
  const Split split = OverTwo(Config(16, 10 * 8192 + 20 * 512));
  ASSERT_NE(split.engine, nullptr);
  EXPECT_EQ(Logprobs(*split.engine, 7), whole);
  Logprobs(*split.engine, 3);
  Logprobs(*split.engine, 5);
  EXPECT_EQ(Logprobs(*split.engine, 7), whole);
  const DevicePagesSnapshot moved = split.engine->Snapshot().device_pages.value();
  EXPECT_GT(moved.spilled_pages, 0);
  EXPECT_GT(moved.fetched_bytes, 0);
  EXPECT_TRUE(split.engine->Snapshot().failure.ok()) << split.engine->Snapshot().failure;
}

TEST_F(DeviceRanksTest, TheWorkerEndsWellWithTheEngine) {
  Split split = OverTwo(Config(16));
  ASSERT_NE(split.engine, nullptr);
  Logprobs(*split.engine, 7);
  split.engine.reset();
  EXPECT_EQ(split.worker->Wait(kDeadline), 0);
}

TEST_F(DeviceRanksTest, AKilledWorkerIsTheEnginesFailure) {
  Split split = OverTwo(Config(16));
  ASSERT_NE(split.engine, nullptr);
  split.worker->Signal(SIGKILL);
  split.worker->Wait(kDeadline);
  const auto failed = Ask(*split.engine, SmallRequest(SmallPrompt(50), 4));
  ASSERT_TRUE(failed->WaitForEnd(kDeadline));
  EXPECT_TRUE(failed->events().failed.has_value());
  const absl::Status failure = split.engine->Snapshot().failure;
  EXPECT_NE(failure.message().find("tensor parallel"), std::string_view::npos) << failure;
}

}  // namespace
}  // namespace keyhole::testing
