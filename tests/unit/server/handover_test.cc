#include "server/handover.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"

namespace keyhole {
namespace {

TEST(HandoverTest, RefusalIsTheGiversToReport) {
  Handover handover;
  EXPECT_FALSE(handover.Drop());
  EXPECT_FALSE(handover.Complete());
}

TEST(HandoverTest, LaterDropIsTheReceiversToReport) {
  Handover handover;
  EXPECT_TRUE(handover.Complete());
  EXPECT_TRUE(handover.Drop());
}

TEST(HandoverTest, ExactlyOneReportsInARace) {
  for (int round = 0; round < 1000; ++round) {
    Handover handover;
    std::atomic<int> reports{0};
    std::thread receiver([&] { reports += handover.Drop(); });
    reports += !handover.Complete();
    receiver.join();
    ASSERT_EQ(reports, 1);
  }
}

}  // namespace
}  // namespace keyhole
