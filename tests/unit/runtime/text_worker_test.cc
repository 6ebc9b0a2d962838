#include "engine/runtime/text_worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace keyhole {
namespace {

TEST(TextWorkersTest, WorkIsBounded) {
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  std::promise<void> running;
  TextWorkers workers(1, 2);
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

TEST(TextWorkersTest, DeliveriesFlowWhileWorkIsLong) {
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  TextWorkers workers(3, 8);
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
    TextWorkers workers(3, 8);
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
  TextWorkers workers(2, 100);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(workers.TryRun([&] { ++done; }));
  workers.CloseWork();
  EXPECT_EQ(done, 50);
  EXPECT_FALSE(workers.TryRun([] {}));
}

TEST(TextWorkersTest, DestructorRunsWhatIsQueued) {
  std::atomic<int> done = 0;
  {
    TextWorkers workers(2, 1000);
    for (int i = 0; i < 200; ++i) {
      workers.Deliver([&] { ++done; });
      workers.TryRun([&] { ++done; });
    }
  }
  EXPECT_EQ(done, 400);
}

}  // namespace
}  // namespace keyhole
