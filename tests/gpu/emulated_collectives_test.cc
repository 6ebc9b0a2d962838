// Collectives of accelerators, over an emulated NCCL and by way of the host: ranks are threads.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "absl/synchronization/notification.h"
#include "engine/device/device_error.h"
#include "engine/device/graph.h"
#include "engine/parallel/nccl_collectives.h"
#include "engine/parallel/staged_collectives.h"
#include "tests/support/cuda_emulation/emulation.h"
#include "tests/unit/parallel/rank_threads.h"

namespace keyhole {
namespace {

using testing::RankValue;
using testing::RunRanks;

constexpr absl::Duration kTimeout = absl::Seconds(30);

std::vector<float> Values(std::int32_t rank, std::size_t n) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = RankValue(rank, static_cast<std::int64_t>(i));
  return x;
}

enum class Kind { kStaged, kNccl };

std::unique_ptr<DeviceCollectives> Make(Kind kind,
                                        ProcessGroup* group,
                                        absl::Duration timeout = kTimeout) {
  if (kind == Kind::kStaged) return MakeStagedCollectives(group);
  absl::StatusOr<std::unique_ptr<DeviceCollectives>> made = MakeNcclCollectives(group, timeout);
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

TEST(NcclCollectivesTest, WhoIsTooLateEndsTheOthersStep) {
  cuda_emulation::SetNcclPatience(std::chrono::milliseconds(50));
  absl::Notification over;
  RunRanks(2, [&](std::unique_ptr<ProcessGroup> group) {
    const Stream stream = Stream::Create().value();
    const auto ranks = Make(Kind::kNccl, group.get(), absl::Milliseconds(80));
    if (!group->shard().is_root()) {
      over.WaitForNotification();
      return;
    }
    float x = 1;
    ranks->AllReduce(stream, &x, 1);
    const absl::Status status = ranks->Synchronize(stream);
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_NE(status.message().find("80ms"), std::string_view::npos) << status;
    EXPECT_THROW(ranks->AllReduce(stream, &x, 1), DeviceError);
    over.Notify();
  });
  cuda_emulation::SetNcclPatience(std::chrono::minutes(1));
}

}  // namespace
}  // namespace keyhole
