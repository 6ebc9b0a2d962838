#include "engine/runtime/text_worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <limits>

namespace keyhole {
namespace {

constexpr std::int64_t kNoBound = std::numeric_limits<std::int64_t>::max();

TEST(TextWorkersTest, WorkIsBounded) {
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  std::promise<void> running;
  TextWorkers workers(1, 2, kNoBound);
  EXPECT_TRUE(workers.TryRun([&] {
    running.set_value();
    open.wait();
  }));
  running.get_future().wait();
  EXPECT_TRUE(workers.TryRun([] {}));
  EXPECT_TRUE(workers.TryRun([] {}));
  EXPECT_FALSE(workers.TryRun([] {}));
  gate.set_value();
}

TEST(TextWorkersTest, WhatWaitsIsBoundedByBytes) {
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  std::promise<void> running;
  std::promise<void> done;
  TextWorkers workers(1, 10, 100);
  const auto block = [&] {
    running.set_value();
    open.wait();
  };
  EXPECT_TRUE(workers.TryRun(block, 1000)) << "nothing else waits";
  running.get_future().wait();  // and so holds nothing of the queue any more
  EXPECT_TRUE(workers.TryRun([] {}, 60));
  EXPECT_FALSE(workers.TryRun([] {}, 41));
  EXPECT_FALSE(workers.TryRun([] {}, kNoBound));
  EXPECT_TRUE(workers.TryRun([&] { done.set_value(); }, 40));
  EXPECT_FALSE(workers.TryRun([] {}, 1));
  EXPECT_TRUE(workers.TryRun([] {}));
  gate.set_value();
  done.get_future().wait();
  EXPECT_TRUE(workers.TryRun([] {}, 100)) << "those before have begun";
}

TEST(TextWorkersTest, DeliveriesFlowWhileWorkIsLong) {
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  TextWorkers workers(3, 8, kNoBound);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(workers.TryRun([open] { open.wait(); }));
  std::promise<void> delivered;
  workers.Deliver([&] { delivered.set_value(); });
  delivered.get_future().wait();  // would hang if work took every thread
  gate.set_value();
}

TEST(TextWorkersTest, WorkNeverTakesTheLastThread) {
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  std::atomic<int> running = 0;
  {
    TextWorkers workers(3, 8, kNoBound);
    std::promise<void> two_run;
    for (int i = 0; i < 6; ++i) {
      EXPECT_TRUE(workers.TryRun([&] {
        if (++running == 2) two_run.set_value();
        open.wait();
      }));
    }
    two_run.get_future().wait();
    // Deliveries still run one after the other on the thread that is left.
    for (int i = 0; i < 3; ++i) {
      std::promise<void> delivered;
      workers.Deliver([&] { delivered.set_value(); });
      delivered.get_future().wait();
    }
    EXPECT_EQ(running, 2);  // begun; none has ended
    gate.set_value();
  }
  EXPECT_EQ(running, 6);
}

TEST(TextWorkersTest, CloseWorkWaitsForWorkAndRefusesMore) {
  std::atomic<int> done = 0;
  TextWorkers workers(2, 100, kNoBound);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(workers.TryRun([&] { ++done; }));
  workers.CloseWork();
  EXPECT_EQ(done, 50);
  EXPECT_FALSE(workers.TryRun([] {}));
}

TEST(TextWorkersTest, DestructorRunsWhatIsQueued) {
  std::atomic<int> done = 0;
  {
    TextWorkers workers(2, 1000, kNoBound);
    for (int i = 0; i < 200; ++i) {
      workers.Deliver([&] { ++done; });
      workers.TryRun([&] { ++done; });
    }
  }
  EXPECT_EQ(done, 400);
}

}  // namespace
}  // namespace keyhole
