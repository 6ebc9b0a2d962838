// Collectives of accelerators, over an emulated NCCL and by way of the host: ranks are threads.
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "engine/device/device_error.h"
#include "engine/device/graph.h"
#include "engine/device/graph_cache.h"
#include "engine/parallel/nccl_collectives.h"
#include "engine/parallel/staged_collectives.h"
#include "tests/support/cuda_emulation/emulation.h"
#include "tests/unit/parallel/rank_threads.h"

namespace keyhole {
namespace {

using testing::RankValue;
using testing::RunRanks;

constexpr absl::Duration kWait = absl::Minutes(1);  // for another rank
constexpr NcclLimits kPatient = {
    .start = absl::Seconds(30), .step = absl::Seconds(30), .end = absl::Seconds(30)};
constexpr NcclLimits kHasty = {
    .start = absl::Seconds(30), .step = absl::Milliseconds(80), .end = absl::Seconds(30)};

std::vector<float> Values(std::int32_t rank, std::size_t n) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = RankValue(rank, static_cast<std::int64_t>(i));
  return x;
}

enum class Kind { kStaged, kNccl };

std::unique_ptr<DeviceCollectives> Make(Kind kind,
                                        ProcessGroup* group,
                                        const NcclLimits& limits = kPatient) {
  if (kind == Kind::kStaged) return MakeStagedCollectives(group);
  absl::StatusOr<std::unique_ptr<DeviceCollectives>> made = MakeNcclCollectives(group, limits);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// Emulated device memory is the host's.
void ExpectSumsAndGathers(DeviceCollectives& ranks, const Stream& stream) {
  const Shard& shard = ranks.shard();
  for (const std::size_t n : {1, 7, 20000}) {
    std::vector<float> sums = Values(shard.rank, n);
    std::vector<float> all(n * shard.size);
    ranks.AllGather(stream, sums.data(), static_cast<std::int64_t>(n), all.data());
    ranks.AllReduce(stream, sums.data(), static_cast<std::int64_t>(n));
    ASSERT_TRUE(ranks.Synchronize(stream).ok());
    for (std::size_t i = 0; i < n; ++i) {
      float expected = 0;
      for (std::int32_t rank = 0; rank < shard.size; ++rank) {
        const float of_rank = RankValue(rank, static_cast<std::int64_t>(i));
        ASSERT_EQ(all[rank * n + i], of_rank);
        expected += of_rank;
      }
      ASSERT_EQ(sums[i], expected) << "value " << i << " of " << n;
      if (n > 100 && i > 100) break;
    }
  }
}

class CollectivesTest : public ::testing::TestWithParam<Kind> {};

TEST_P(CollectivesTest, SumAndGather) {
  for (const std::int32_t size : {2, 3}) {
    RunRanks(size, [](std::unique_ptr<ProcessGroup> group) {
      const Stream stream = Stream::Create().value();
      const auto ranks = Make(GetParam(), group.get());
      ExpectSumsAndGathers(*ranks, stream);
      const auto smallest = ranks->Smallest(std::int64_t{5} - ranks->shard().rank);
      ASSERT_TRUE(smallest.ok()) << smallest.status();
      EXPECT_EQ(*smallest, 6 - ranks->shard().size);
    });
  }
}

TEST_P(CollectivesTest, WhoLeavesEndsTheOthersSteps) {
  absl::Notification joined;
  RunRanks(2, [&](std::unique_ptr<ProcessGroup> group) {
    const Stream stream = Stream::Create().value();
    auto ranks = Make(GetParam(), group.get());
    if (!group->shard().is_root()) {
      joined.WaitForNotification();
      ranks.reset();
      group->Leave();
      return;
    }
    joined.Notify();
    float x = 1;
    absl::Status status;
    try {
      ranks->AllReduce(stream, &x, 1);
      status = ranks->Synchronize(stream);
    } catch (const DeviceError& error) {
      status = error.status();
    }
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_THROW(ranks->AllReduce(stream, &x, 1), DeviceError);
  });
}

INSTANTIATE_TEST_SUITE_P(,
                         CollectivesTest,
                         ::testing::Values(Kind::kStaged, Kind::kNccl),
                         [](const auto& instance) {
                           return instance.param == Kind::kNccl ? "Nccl" : "Staged";
                         });

TEST(NcclCollectivesTest, CanBeCapturedAndReplayed) {
  RunRanks(2, [](std::unique_ptr<ProcessGroup> group) {
    const Stream stream = Stream::Create().value();
    const auto ranks = Make(Kind::kNccl, group.get());
    ASSERT_TRUE(ranks->capturable());
    std::vector<float> x(3);
    const Graph graph = Graph::Capture(stream, [&] {
                          ranks->AllReduce(stream, x.data(), 3);
                          return absl::OkStatus();
                        }).value();
    for (int i = 0; i < 3; ++i) {
      std::iota(x.begin(), x.end(), static_cast<float>(i * group->shard().rank));
      ASSERT_TRUE(graph.Launch(stream).ok());
      ASSERT_TRUE(ranks->Synchronize(stream).ok());
      EXPECT_EQ(x, (std::vector<float>{i + 0.0F, i + 2.0F, i + 4.0F}));
    }
  });
}

class HastyNcclTest : public ::testing::Test {
 protected:
  void TearDown() override { cuda_emulation::SetNcclPatience(std::chrono::minutes(1)); }

  // From now on nobody comes: the emulated stream hangs after a moment.
  static void ExpectNobody() { cuda_emulation::SetNcclPatience(std::chrono::milliseconds(50)); }
};
using HastyNcclDeathTest = HastyNcclTest;

TEST_F(HastyNcclTest, WhoIsTooLateEndsTheOthersStep) {
  absl::Notification over;
  RunRanks(2, [&](std::unique_ptr<ProcessGroup> group) {
    const Stream stream = Stream::Create().value();
    const auto ranks = Make(Kind::kNccl, group.get(), kHasty);
    if (!group->shard().is_root()) {
      EXPECT_TRUE(over.WaitForNotificationWithTimeout(kWait));
      return;
    }
    ExpectNobody();
    float x = 1;
    ranks->AllReduce(stream, &x, 1);
    const absl::Status status = ranks->Synchronize(stream);
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_NE(status.message().find("80ms"), std::string_view::npos) << status;
    EXPECT_THROW(ranks->AllReduce(stream, &x, 1), DeviceError);
    over.Notify();
  });
}

// NCCL's abort waits for graphs that hold its calls.
TEST_F(HastyNcclTest, WhatWasCapturedIsDroppedBeforeTheGroupIsLeft) {
  absl::Notification over;
  RunRanks(2, [&](std::unique_ptr<ProcessGroup> group) {
    const Stream stream = Stream::Create().value();
    const auto ranks = Make(Kind::kNccl, group.get(), kHasty);
    GraphCache<int> cache(1);
    ranks->set_drop_captured([&] { cache.Clear(); });
    float x = 1;
    const auto run = [&] {
      return cache.Run(stream, 7, [&] {
        ranks->AllReduce(stream, &x, 1);
        return absl::OkStatus();
      });
    };
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(run().ok());
      EXPECT_TRUE(ranks->Synchronize(stream).ok());
    }
    EXPECT_EQ(x, 8);
    if (!group->shard().is_root()) {
      EXPECT_TRUE(over.WaitForNotificationWithTimeout(kWait));
    } else {
      ExpectNobody();
      EXPECT_TRUE(run().ok());
      EXPECT_TRUE(absl::IsUnavailable(ranks->Synchronize(stream)));
      EXPECT_THROW(run().IgnoreError(), DeviceError) << "not launched once more";
      over.Notify();
    }
    ranks->set_drop_captured(nullptr);
  });
}

TEST_F(HastyNcclDeathTest, AGroupThatCannotBeLeftEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto leave_in_vain = [] {
    NcclLimits limits = kHasty;
    limits.end = absl::Milliseconds(200);
    absl::Notification over;  // never
    RunRanks(2, [&](std::unique_ptr<ProcessGroup> group) {
      const Stream stream = Stream::Create().value();
      const auto ranks = Make(Kind::kNccl, group.get(), limits);
      if (!group->shard().is_root()) over.WaitForNotificationWithTimeout(kWait);
      float x = 1;
      const Graph kept = Graph::Capture(stream, [&] {
                           ranks->AllReduce(stream, &x, 1);
                           return absl::OkStatus();
                         }).value();
      ExpectNobody();
      kept.Launch(stream).IgnoreError();
      ranks->Synchronize(stream).IgnoreError();
    });
  };
  EXPECT_EXIT(leave_in_vain(), ::testing::ExitedWithCode(EXIT_FAILURE), "NCCL cannot end");
}

TEST_F(HastyNcclTest, WhoDoesNotJoinIsNotWaitedForForEver) {
  absl::Notification over;
  RunRanks(2, [&](std::unique_ptr<ProcessGroup> group) {
    if (!group->shard().is_root()) {
      std::string id;
      ASSERT_TRUE(group->Broadcast(id).ok());
      EXPECT_TRUE(over.WaitForNotificationWithTimeout(kWait));
      return;
    }
    cuda_emulation::SetNcclPatience(std::chrono::seconds(5));  // of the thread that is left
    NcclLimits limits = kPatient;
    limits.start = absl::Milliseconds(100);
    const absl::Status status = MakeNcclCollectives(group.get(), limits).status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_NE(status.message().find("100ms"), std::string_view::npos) << status;
    over.Notify();
  });
}

}  // namespace
}  // namespace keyhole
