// Whole engines on the accelerator: the same answers wherever the rows lie, close to the CPU's.
#include <cmath>

#include "engine/device/gpu.h"
#include "engine/request/error.h"
#include "tests/gpu/engine_harness.h"

namespace keyhole {
namespace {

using testing::Answer;
using testing::Ask;
using testing::Await;
using testing::Recording;
using testing::Submit;

class EngineGpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<GpuInfo> gpu = OpenGpu(0);
    ASSERT_TRUE(gpu.ok()) << gpu.status();
  }
};

// One sequence has more pages than there is room for.
constexpr EngineCase kSpillingCases[] = {
    {.residency = Residency::kHost, .spills = true, .device_pages = 10, .max_running = 1},
    {.residency = Residency::kAuto, .spills = true, .device_pages = 10, .max_running = 1},
};

TEST_F(EngineGpuTest, ResidenciesGiveTheSameBits) {
  const std::unique_ptr<Engine> whole = MakeCaseEngine({.residency = Residency::kDevice});
  const auto expected = AskAll(*whole, 2);
  EXPECT_EQ(whole->Snapshot().device_pages->fetched_bytes, 0);
  ASSERT_EQ(expected[0].size(), (8 + 4) * 5);
  for (const EngineCase& wanted : kSpillingCases) {
    const std::unique_ptr<Engine> engine = MakeCaseEngine(wanted);
    ASSERT_NE(engine, nullptr);
    EXPECT_EQ(AskAll(*engine, 2), expected) << ResidencyName(wanted.residency);
    const EngineSnapshot state = engine->Snapshot();
    ASSERT_TRUE(state.device_pages.has_value());
    EXPECT_LT(state.device_pages->pages, state.kv_pages);
    EXPECT_EQ(state.device_pages->host_pages, state.kv_pages);
    EXPECT_GT(state.device_pages->pages_used, 0);
    EXPECT_GT(state.device_pages->page_rows, 0);
    EXPECT_GT(state.device_pages->spilled_pages, 0);
  }
}

TEST_F(EngineGpuTest, PrefixesAreFoundWhereverTheyLie) {
  for (const EngineCase& wanted : kSpillingCases) {
    const std::unique_ptr<Engine> engine = MakeCaseEngine(wanted);
    ASSERT_NE(engine, nullptr);
    const Answer cold = Ask(*engine, EngineRequest(0));
    Ask(*engine, EngineRequest(1));  // takes the room of the first one's pages
    const Answer warm = Ask(*engine, EngineRequest(0));
    EXPECT_EQ(cold.cached_tokens, 0);
    EXPECT_GE(warm.cached_tokens, 64);
    EXPECT_EQ(warm.values, cold.values) << ResidencyName(wanted.residency);
    const DevicePagesSnapshot moved = engine->Snapshot().device_pages.value();
    EXPECT_GT(moved.spilled_pages, 0);
    EXPECT_GT(moved.fetched_rows, 0);
    EXPECT_GE(moved.hot_rows, 0);
    EXPECT_GT(moved.fetched_bytes, moved.fetched_rows);
  }
}

// Of random weights other rows would be chosen for less than the difference of products in bf16, so
// that here the budget covers them all.
TEST_F(EngineGpuTest, LogProbabilitiesOfAPromptAreThoseOfTheCpu) {
  for (const char* model : {"synthetic:tiny", "synthetic:tiny-qwen2", "synthetic:tiny-qwen3"}) {
    Request request = EngineRequest(0, 1);
    request.output.top_logprob_count = 0;
    request.output.prompt_logprobs = PromptLogprobRange{1, kEnginePromptLen - 1};
    EngineCase wanted = {.selected = kEnginePromptLen, .model = model};
    const Answer got = Ask(*MakeCaseEngine(wanted), request);
    wanted.compute = ComputeDevice::kCpu;
    const Answer expected = Ask(*MakeCaseEngine(wanted), request);
    ASSERT_EQ(got.values.size(), kEnginePromptLen);
    ASSERT_EQ(expected.values.size(), kEnginePromptLen);
    double square = 0;
    for (std::size_t i = 0; i + 1 < got.values.size(); ++i) {
      square += std::pow(got.values[i].second - expected.values[i].second, 2);
    }
    EXPECT_LT(std::sqrt(square / kEnginePromptLen), 0.05) << model;
  }
}

TEST_F(EngineGpuTest, SeveralAtOnceAndOneCancelled) {
  const std::unique_ptr<Engine> engine = MakeCaseEngine(kSpillingCases[1]);
  ASSERT_NE(engine, nullptr);
  std::vector<std::shared_ptr<Recording>> running(3);
  for (int i = 0; i < 3; ++i) running[i] = Submit(*engine, EngineRequest(i, 16));
  auto cancelled = std::make_shared<Recording>();
  const auto id =
      engine->Submit(EngineRequest(9, 64), std::make_unique<testing::RecordingSink>(cancelled));
  ASSERT_TRUE(id.ok());
  Await(*running[0]);
  engine->Cancel(*id);
  for (const auto& recording : running) {
    const Answer answer = Await(*recording);
    EXPECT_TRUE(answer.status.ok()) << answer.status;
    EXPECT_EQ(answer.values.size(), (16 + 4) * 5);
  }
  EXPECT_EQ(Await(*cancelled).status.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(Ask(*engine, EngineRequest(3)).status.ok());
  EXPECT_TRUE(PagesAreFree(*engine));
}

// It reads 128 rows of the middle, and a step may fetch 48.
TEST_F(EngineGpuTest, WhoReadsMoreThanThereIsRoomForFailsAlone) {
  const std::unique_ptr<Engine> engine = MakeCaseEngine(kSpillingCases[1]);
  ASSERT_NE(engine, nullptr);
  const auto other = Submit(*engine, EngineRequest(1, 32));
  Request wide = EngineRequest(2);
  wide.selection.force_full_attention = true;
  const Answer refused = Ask(*engine, wide);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted) << refused.status;
  EXPECT_EQ(GetErrorDetail(refused.status).reason, reason::kKvCapacity);
  EXPECT_TRUE(Await(*other).status.ok());
  EXPECT_EQ(Ask(*engine, wide).status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Ask(*engine, EngineRequest(3)).status.ok());
}

TEST_F(EngineGpuTest, SettingsThatCannotBeServedAreRefused) {
  EngineConfig config = ConfigOf({.residency = Residency::kHost});
  config.device.kv_memory_bytes = 4096;
  EXPECT_EQ(Engine::Create(config, nullptr).status().code(), absl::StatusCode::kInvalidArgument);
  config = ConfigOf({.residency = Residency::kDevice});
  config.device.kv_memory_bytes = std::int64_t{1} << 50;
  EXPECT_EQ(Engine::Create(config, nullptr).status().code(), absl::StatusCode::kResourceExhausted);
  config = ConfigOf({});
  config.selection.policy = "esa-exact";
  EXPECT_EQ(Engine::Create(config, nullptr).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace keyhole
