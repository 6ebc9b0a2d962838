#include "engine/parallel/process_group.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/unit/parallel/rank_threads.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RankSettings;
using testing::RankValue;
using testing::RunRanks;

at::Tensor Values(std::int32_t rank, std::int64_t n) {
  at::Tensor x = at::empty({n}, at::kFloat);
  for (std::int64_t i = 0; i < n; ++i) x.mutable_data_ptr<float>()[i] = RankValue(rank, i);
  return x;
}

TEST(ProcessGroup, SumsRunInTheOrderOfRanksInAnyShape) {
  for (const std::int32_t size : {2, 3}) {
    RunRanks(size, [size](std::unique_ptr<ProcessGroup> group) {
      for (const std::int64_t n : {1, 6, 1000, 30000, 90000, 90001}) {
        at::Tensor x = Values(group->shard().rank, n);
        group->AllReduce(x);
        for (std::int64_t i = 0; i < n; ++i) {
          float sum = RankValue(0, i);
          for (std::int32_t rank = 1; rank < size; ++rank) sum += RankValue(rank, i);
          ASSERT_EQ(x.const_data_ptr<float>()[i], sum) << "element " << i << " of " << n;
        }
      }
    });
  }
}

TEST(ProcessGroup, EveryRankHasItsOwnNumber) {
  RunRanks(3, [](std::unique_ptr<ProcessGroup> group) {
    EXPECT_EQ(group->shard().size, 3);
    const auto numbers = group->Exchange(group->shard().rank);
    ASSERT_TRUE(numbers.ok()) << numbers.status();
    EXPECT_THAT(*numbers, ElementsAre(0, 1, 2));
  });
}

TEST(ProcessGroup, EveryRankGetsEveryRanksTensor) {
  RunRanks(3, [](std::unique_ptr<ProcessGroup> group) {
    at::Tensor x = Values(group->shard().rank, 10).view({2, 5});
    const at::Tensor all = group->AllGather(x);
    ASSERT_EQ(all.sizes(), (at::IntArrayRef{3, 2, 5}));
    for (std::int32_t i = 0; i < 30; ++i) {
      EXPECT_EQ(all.const_data_ptr<float>()[i], RankValue(i / 10, i % 10));
    }
    const at::Tensor at_root = group->Gather(x);
    ASSERT_EQ(at_root.defined(), group->shard().is_root());
    if (!at_root.defined()) return;
    ASSERT_EQ(at_root.sizes(), (at::IntArrayRef{3, 2, 5}));
    for (std::int32_t i = 0; i < 30; ++i) {
      EXPECT_EQ(at_root.const_data_ptr<float>()[i], RankValue(i / 10, i % 10));
    }
  });
}

TEST(ProcessGroup, MessagesOfAnySizeArrive) {
  RunRanks(2, [](std::unique_ptr<ProcessGroup> group) {
    for (const std::size_t size : {0, 1, 4000, 4087, 4088, 4089, 100000}) {
      std::string message(group->shard().is_root() ? size : 3, 'a');
      if (group->shard().is_root() && size > 2) message[size - 2] = 'z';
      ASSERT_TRUE(group->Broadcast(message).ok());
      ASSERT_EQ(message.size(), size);
      EXPECT_EQ(message.find('z'), size > 2 ? size - 2 : std::string::npos);
    }
    const auto numbers = group->Exchange(100 + group->shard().rank);
    ASSERT_TRUE(numbers.ok()) << numbers.status();
    EXPECT_THAT(*numbers, ElementsAre(100, 101));
  });
}

TEST(ProcessGroup, WhoLeavesEndsTheOthersCallsAtOnce) {
  absl::Notification joined;
  RunRanks(2, [&](std::unique_ptr<ProcessGroup> group) {
    if (!group->shard().is_root()) {
      joined.WaitForNotification();
      group->Leave();
      return;
    }
    joined.Notify();
    at::Tensor x = Values(0, 10);
    EXPECT_THROW(group->AllReduce(x), std::exception);
    const auto numbers = group->Exchange(1);
    EXPECT_TRUE(absl::IsUnavailable(numbers.status())) << numbers.status();
  });
}

TEST(ProcessGroup, WhoIsTooLateEndsTheOthersCalls) {
  TensorParallelSettings settings = RankSettings(2);
  settings.timeout = absl::Milliseconds(300);
  absl::Notification over;
  std::thread late([settings, &over]() mutable {
    settings.rank = 1;
    const auto group = ProcessGroup::Connect(settings);
    ASSERT_TRUE(group.ok()) << group.status();
    over.WaitForNotification();
  });
  const auto group = ProcessGroup::Connect(settings);
  EXPECT_TRUE(group.ok()) << group.status();
  if (group.ok()) {
    (*group)->EndStart();
    const auto numbers = (*group)->Exchange(0);
    EXPECT_TRUE(absl::IsUnavailable(numbers.status())) << numbers.status();
  }
  over.Notify();
  late.join();
}

TEST(ProcessGroup, ARankWithAnotherSizeIsRefusedOnBothSides) {
  TensorParallelSettings settings = RankSettings(2);
  std::thread other([settings]() mutable {
    settings.size = 3;
    settings.rank = 1;
    const absl::Status status = ProcessGroup::Connect(settings).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("size of 3, rank 0 with 2"));
  });
  const absl::Status status = ProcessGroup::Connect(settings).status();
  other.join();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("size of 3, rank 0 with 2"));
}

TEST(ProcessGroup, ASecondProcessOfOneRankIsRefused) {
  TensorParallelSettings settings = RankSettings(3);
  settings.start_timeout = absl::Seconds(10);
  std::vector<std::thread> twins(2);
  for (std::thread& twin : twins) {
    twin = std::thread([settings]() mutable {
      settings.rank = 1;
      EXPECT_FALSE(ProcessGroup::Connect(settings).ok());
    });
  }
  const absl::Status status = ProcessGroup::Connect(settings).status();
  for (std::thread& twin : twins) twin.join();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("two processes have the rank 1"));
}

TEST(ProcessGroup, MissingRanksAreNamed) {
  TensorParallelSettings settings = RankSettings(3);
  settings.start_timeout = absl::Milliseconds(300);
  const absl::Status status = ProcessGroup::Connect(settings).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(": 1, 2"));
}

TEST(ProcessGroup, ARankWhoseRootIsNotThereGivesUp) {
  TensorParallelSettings settings = RankSettings(2);
  settings.rank = 1;
  settings.start_timeout = absl::Seconds(1);
  const absl::Status status = ProcessGroup::Connect(settings).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(settings.address));
}

}  // namespace
}  // namespace keyhole
