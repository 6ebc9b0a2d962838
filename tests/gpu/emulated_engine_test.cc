// An engine whose accelerator fails now and then, which only an emulated one does when asked to.
#include <cuda_runtime_api.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/request/error.h"
#include "engine/telemetry/engine_observer.h"
#include "tests/gpu/engine_harness.h"
#include "tests/support/cuda_emulation/emulation.h"

namespace keyhole {
namespace {

using cuda_emulation::Call;
using cuda_emulation::FailCalls;
using testing::Answer;
using testing::Ask;

constexpr EngineCase kCase = {.residency = Residency::kAuto, .spills = true};

class EmulatedEngineTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (int call = 0; call < cuda_emulation::kCalls; ++call) FailCalls(Call{call}, {});
    cuda_emulation::RestoreContext();
  }
};

class Warnings final : public EngineObserver {
 public:
  void OnStep(const StepRecord&) override {}
  void OnInterToken(absl::Duration) override {}
  void OnRequestEnd(const RequestRecord&) override {}
  void OnWarning(std::string_view text) override { texts.emplace_back(text); }

  std::vector<std::string> texts;
};

TEST_F(EmulatedEngineTest, AStepWhoseCopyFailsIsRunAgain) {
  const auto expected = AskAll(*MakeCaseEngine(kCase), 1);
  struct Failure {
    Call call;
    int after;
  };
  for (const Failure& failure :
       {Failure{Call::kCopy, 0}, {Call::kCopy, 90}, {Call::kLaunch, 300}}) {
    const std::unique_ptr<Engine> engine = MakeCaseEngine(kCase);
    ASSERT_NE(engine, nullptr);
    FailCalls(failure.call, {.error = cudaErrorInvalidValue, .after = failure.after, .count = 1});
    EXPECT_EQ(AskAll(*engine, 1), expected) << "after " << failure.after;
  }
}

TEST_F(EmulatedEngineTest, CopiesThatFailAgainFailTheirRequestsAndNoOthers) {
  const auto expected = AskAll(*MakeCaseEngine(kCase), 1);
  const std::unique_ptr<Engine> engine = MakeCaseEngine(kCase);
  ASSERT_NE(engine, nullptr);
  FailCalls(Call::kCopy, {.error = cudaErrorInvalidValue, .after = 60, .count = 1000});
  const Answer failed = Ask(*engine, EngineRequest(5));
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal) << failed.status;
  FailCalls(Call::kCopy, {});
  EXPECT_EQ(AskAll(*engine, 1), expected);
  EXPECT_TRUE(PagesAreFree(*engine));
}

TEST_F(EmulatedEngineTest, ShortMemoryOfTheDeviceLeavesTheEngineServing) {
  const std::unique_ptr<Engine> engine = MakeCaseEngine(kCase);
  ASSERT_NE(engine, nullptr);
  FailCalls(Call::kMalloc, {.error = cudaErrorMemoryAllocation, .after = 0, .count = 1});
  const Answer failed = Ask(*engine, EngineRequest(0));
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kResourceExhausted) << failed.status;
  EXPECT_EQ(GetErrorDetail(failed.status).reason, reason::kKvCapacity);
  EXPECT_TRUE(Ask(*engine, EngineRequest(0)).status.ok());
}

// From then on every call of the device fails, those that clear up after a step among them.
TEST_F(EmulatedEngineTest, AnErrorThatDestroysTheContextIsTheEnginesFailureForGood) {
  struct Failure {
    Call call;
    int after;
  };
  for (const Failure& failure : {Failure{Call::kCopy, 60},
                                 {Call::kLaunch, 300},
                                 {Call::kSynchronize, 2},
                                 {Call::kGraphLaunch, 1}}) {
    SCOPED_TRACE(static_cast<int>(failure.call));
    cuda_emulation::RestoreContext();
    const std::unique_ptr<Engine> engine = MakeCaseEngine(kCase);
    ASSERT_NE(engine, nullptr);
    EXPECT_TRUE(engine->Snapshot().failure.ok());
    FailCalls(failure.call, {.error = cudaErrorIllegalAddress, .after = failure.after, .count = 1});
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(Ask(*engine, EngineRequest(i)).status.code(), absl::StatusCode::kInternal);
      EXPECT_FALSE(engine->Snapshot().failure.ok());
    }
  }
}

TEST_F(EmulatedEngineTest, AStepThatCannotBeCapturedRunsAsItIsWithOneWarning) {
  const auto expected = AskAll(*MakeCaseEngine(kCase), 2);
  Warnings warnings;
  FailCalls(Call::kInstantiate, {.error = cudaErrorMemoryAllocation, .after = 0, .count = 1 << 20});
  {
    const auto engine = Engine::Create(ConfigOf(kCase), &warnings);
    ASSERT_TRUE(engine.ok()) << engine.status();
    warnings.texts.clear();
    EXPECT_EQ(AskAll(**engine, 2), expected);
  }
  ASSERT_EQ(warnings.texts.size(), 1);
  EXPECT_NE(warnings.texts.front().find("captured"), std::string::npos) << warnings.texts.front();
}

TEST_F(EmulatedEngineTest, WeightsThatDoNotFitAreRefused) {
  FailCalls(Call::kMalloc, {.error = cudaErrorMemoryAllocation, .after = 3, .count = 1});
  EXPECT_EQ(Engine::Create(ConfigOf(kCase), nullptr).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace keyhole
