#include "engine/device/thread_pool.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace keyhole {
namespace {

class ThreadPoolTest : public ::testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 3, 8));

TEST_P(ThreadPoolTest, RunsEachTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.n_threads(), GetParam());
  for (const int n_tasks : {0, 1, 2, 3, 7, 64, 1000}) {
    std::vector<int> runs(n_tasks, 0);
    pool.ParallelFor(n_tasks, [&](std::int64_t task) { ++runs[task]; });
    EXPECT_EQ(runs, std::vector<int>(n_tasks, 1));
  }
}

TEST_P(ThreadPoolTest, ResultsOfOneCallAreSeenByTheNext) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> values(17, 0);
  constexpr int kCalls = 2000;
  for (int call = 0; call < kCalls; ++call) {
    pool.ParallelFor(17, [&](std::int64_t task) { values[16 - task] += call; });
  }
  EXPECT_EQ(values, std::vector<std::int64_t>(17, kCalls * (kCalls - 1) / 2));
}

TEST_P(ThreadPoolTest, WakesSleepingWorkers) {
  ThreadPool pool(GetParam());
  for (int call = 0; call < 5; ++call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> sum{0};
    pool.ParallelFor(32, [&](std::int64_t task) { sum += static_cast<int>(task); });
    EXPECT_EQ(sum, 31 * 32 / 2);
  }
}

TEST_P(ThreadPoolTest, TasksAtTheSameTimeHaveDifferentThreadNumbers) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> running(GetParam());
  for (int call = 0; call < 100; ++call) {
    pool.ParallelFor(40, [&](std::int64_t, int thread) {
      ASSERT_LT(thread, GetParam());
      EXPECT_EQ(running[thread].fetch_add(1), 0);
      running[thread].fetch_sub(1);
    });
  }
}

TEST_P(ThreadPoolTest, UnequalSharesAreWorkedOffTogether) {
  ThreadPool pool(GetParam());
  std::atomic<std::int64_t> n_others{0};
  const auto caller = std::this_thread::get_id();
  // All of the caller's tasks wait for somebody else to run the others, and then some of its own.
  const std::int64_t n_tasks = 8 * GetParam();
  std::atomic<std::int64_t> runs{0};
  pool.ParallelFor(n_tasks, [&](std::int64_t task) {
    if (std::this_thread::get_id() != caller) {
      ++n_others;
    } else if (task == 0) {
      while (GetParam() > 1 && n_others < n_tasks - 1) std::this_thread::yield();
    }
    ++runs;
  });
  EXPECT_EQ(runs, n_tasks);
}

TEST_P(ThreadPoolTest, NestedCallRunsItsTasksItself) {
  ThreadPool pool(GetParam());
  std::atomic<int> runs{0};
  pool.ParallelFor(6, [&](std::int64_t) {
    const auto thread = std::this_thread::get_id();
    pool.ParallelFor(5, [&](std::int64_t) {
      EXPECT_EQ(std::this_thread::get_id(), thread);
      ++runs;
    });
  });
  EXPECT_EQ(runs, 30);
}

TEST_P(ThreadPoolTest, CallsFromTwoThreadsBothFinish) {
  ThreadPool pool(GetParam());
  const auto work = [&pool](std::vector<int>& runs) {
    for (int call = 0; call < 200; ++call) {
      pool.ParallelFor(static_cast<std::int64_t>(runs.size()),
                       [&](std::int64_t task) { ++runs[task]; });
    }
  };
  std::vector<int> first(40, 0);
  std::vector<int> second(40, 0);
  std::thread other([&] { work(second); });
  work(first);
  other.join();
  EXPECT_EQ(first, std::vector<int>(40, 200));
  EXPECT_EQ(second, std::vector<int>(40, 200));
}

TEST_P(ThreadPoolTest, UnusedPoolStops) {
  for (int i = 0; i < 20; ++i) ThreadPool pool(GetParam());
}

TEST(ThreadPool, ZeroMeansAllCores) {
  ThreadPool pool(0);
  EXPECT_EQ(pool.n_threads(), std::thread::hardware_concurrency());
}

}  // namespace
}  // namespace keyhole
