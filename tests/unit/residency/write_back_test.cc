#include "engine/kv/write_back.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/fake_device/fake_device.h"

namespace keyhole {
namespace {

using fake_device::Call;

class WriteBackTest : public testing::Test {
 protected:
  WriteBackTest() {
    fake_device::Reset(1 << 20);
    compute_.emplace(Stream::Create().value());
    queue_.emplace(WriteBackQueue::Create(kBytes).value());
  }

  PageCopy Copy(PageId page) {
    return {page, page * 10, &device_[page * kBytes], &host_[page * kBytes]};
  }

  static constexpr std::size_t kBytes = 8;
  std::vector<std::byte> device_ = std::vector<std::byte>(10 * kBytes, std::byte{1});
  std::vector<std::byte> host_ = std::vector<std::byte>(10 * kBytes);
  std::optional<Stream> compute_;
  std::optional<WriteBackQueue> queue_;
};

TEST_F(WriteBackTest, CopiesFollowWhatTheComputeStreamHeld) {
  fake_device::Enqueue(*compute_, [this] { device_[8] = std::byte{42}; });
  ASSERT_TRUE(queue_->Add(*compute_, {Copy(1)}).ok());
  EXPECT_FALSE(queue_->TakeDone().has_value()) << "nothing has run";
  const WriteBackOutcome outcome = queue_->TakeNext();
  EXPECT_TRUE(outcome.status.ok());
  ASSERT_EQ(outcome.copies.size(), 1U);
  EXPECT_EQ(outcome.copies[0].version, 10);
  EXPECT_EQ(host_[8], std::byte{42});
  EXPECT_EQ(host_[9], std::byte{1});
  EXPECT_TRUE(queue_->empty());
}

TEST_F(WriteBackTest, OutcomesComeInOrderAndOnlyWhenDone) {
  ASSERT_TRUE(queue_->Add(*compute_, {Copy(1), Copy(2)}).ok());
  ASSERT_TRUE(queue_->Add(*compute_, {Copy(3)}).ok());
  ASSERT_TRUE(queue_->Add(*compute_, {}).ok());
  fake_device::Run(100, [](int) { return 0; });
  EXPECT_EQ(queue_->TakeDone()->copies.size(), 2U);
  EXPECT_EQ(queue_->TakeDone()->copies.front().page, 3);
  EXPECT_FALSE(queue_->TakeDone().has_value());
}

TEST_F(WriteBackTest, ACopyThatFailsWhileItRunsFailsItsBatchAlone) {
  fake_device::FailRunningCopy(absl::InternalError("bus"), 1);
  ASSERT_TRUE(queue_->Add(*compute_, {Copy(1), Copy(2)}).ok());
  ASSERT_TRUE(queue_->Add(*compute_, {Copy(3)}).ok());
  EXPECT_EQ(queue_->TakeNext().status.message(), "bus");
  EXPECT_TRUE(queue_->TakeNext().status.ok());
}

TEST_F(WriteBackTest, WhatCannotBeQueuedLeavesNothingBehind) {
  for (const Call call : {Call::kCreate, Call::kRecord, Call::kWait, Call::kCopy}) {
    fake_device::FailCall(call, absl::UnavailableError("no"));
    EXPECT_EQ(queue_->Add(*compute_, {Copy(1)}).message(), "no");
    EXPECT_TRUE(queue_->empty());
  }
  fake_device::FailCall(Call::kRecord, absl::UnavailableError("no"), 1);
  EXPECT_FALSE(queue_->Add(*compute_, {Copy(1)}).ok());
  EXPECT_TRUE(queue_->empty());
  ASSERT_TRUE(queue_->Add(*compute_, {Copy(1)}).ok());
  EXPECT_TRUE(queue_->TakeNext().status.ok());
}

TEST_F(WriteBackTest, EventsAreUsedAgain) {
  ASSERT_TRUE(queue_->Add(*compute_, {Copy(1)}).ok());
  queue_->TakeNext();
  fake_device::FailCall(Call::kCreate, absl::UnavailableError("no more"));
  EXPECT_TRUE(queue_->Add(*compute_, {Copy(1)}).ok());
  EXPECT_TRUE(queue_->TakeNext().status.ok());
}

}  // namespace
}  // namespace keyhole
