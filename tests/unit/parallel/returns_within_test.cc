#include "engine/parallel/returns_within.h"

#include <gtest/gtest.h>

#include <memory>

#include "absl/synchronization/notification.h"

namespace keyhole {
namespace {

TEST(ReturnsWithinTest, WhatReturnsHasRunToItsEnd) {
  bool ran = false;
  EXPECT_TRUE(ReturnsWithin(absl::Minutes(1), [&] { ran = true; }));
  EXPECT_TRUE(ran);
}

TEST(ReturnsWithinTest, WhatDoesNotReturnGoesOnAlone) {
  const auto go = std::make_shared<absl::Notification>();
  const auto gone = std::make_shared<absl::Notification>();
  EXPECT_FALSE(ReturnsWithin(absl::Milliseconds(20), [go, gone] {
    go->WaitForNotification();
    gone->Notify();
  }));
  EXPECT_FALSE(gone->HasBeenNotified());
  go->Notify();
  gone->WaitForNotification();
}

}  // namespace
}  // namespace keyhole
