// Many client threads against one engine: meant for the thread sanitizer as much as for its
// results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/support/fake_engine.h"
#include "tests/support/recording_sink.h"

namespace keyhole {
namespace {

using testing::FakeEngineOptions;
using ::testing::IsEmpty;
using testing::MakeFakeEngine;
using testing::Recording;
using testing::RecordingSink;

struct Call {
  std::shared_ptr<Recording> recording;
  std::string prompt;
  bool cancelled = false;
};

std::vector<Call> Client(Engine& engine, unsigned seed, int n_requests) {
  std::mt19937 random(seed);
  std::vector<Call> calls;
  for (int i = 0; i < n_requests; ++i) {
    Call call{.recording = std::make_shared<Recording>(),
              .prompt = std::string(1 + random() % 40, static_cast<char>('a' + random() % 26)),
              .cancelled = random() % 4 == 0};
    const auto id =
        engine.Submit({.prompt = call.prompt}, std::make_unique<RecordingSink>(call.recording));
    if (!id.ok()) continue;  // the queue is full
    if (random() % 2 == 0) absl::SleepFor(absl::Microseconds(random() % 300));
    if (call.cancelled) engine.Cancel(*id);
    engine.Snapshot();
    calls.push_back(std::move(call));
  }
  return calls;
}

TEST(EngineStressTest, EveryCallGetsItsOwnAnswer) {
  FakeEngineOptions options;
  options.config.kv.page_size = 4;
  options.config.scheduler.chunk_size = 8;
  options.config.scheduler.max_running = 6;
  options.config.scheduler.max_queued_requests = 60;
  options.config.text_workers = 3;
  options.max_context = 128;
  options.n_pages = 64;
  auto made = MakeFakeEngine(std::move(options));
  ASSERT_TRUE(made.ok()) << made.status();
  Engine& engine = **made;

  constexpr int kClients = 4;
  std::vector<std::vector<Call>> calls(kClients);
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] { calls[i] = Client(engine, i + 1, 80); });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(engine.WaitIdle(absl::Now() + absl::Seconds(60)));
  for (const auto& client : calls) {
    for (const Call& call : client) {
      const auto events = call.recording->events();
      EXPECT_THAT(events.violations, IsEmpty());
      ASSERT_TRUE(events.over());
      if (events.finished) {
        EXPECT_EQ(events.text(), call.prompt);
      } else {
        EXPECT_TRUE(call.cancelled) << *events.failed;
      }
    }
  }
  EXPECT_EQ(engine.Snapshot().running_requests + engine.Snapshot().waiting_requests, 0);
}

}  // namespace
}  // namespace keyhole
