#include "engine/kv/device_pages.h"

#include <gtest/gtest.h>

#include <vector>

namespace keyhole {
namespace {

TEST(DevicePagesTest, TheLeastRecentlyUsedGoesFirst) {
  DevicePages pages(8, 3);
  EXPECT_EQ(pages.LeastRecent(), std::nullopt) << "nothing is on the device";
  EXPECT_EQ(pages.Take(5), 0);
  EXPECT_EQ(pages.Take(2), 1);
  EXPECT_EQ(pages.Take(7), 2);
  EXPECT_EQ(pages.n_free(), 0);
  EXPECT_EQ(pages.LeastRecent(), 5);
  pages.Touch(5);
  EXPECT_EQ(pages.LeastRecent(), 2);
  pages.Drop(2);
  EXPECT_EQ(pages.slot(2), DevicePages::kNone);
  EXPECT_EQ(pages.LeastRecent(), 7);
  EXPECT_EQ(pages.Take(1), 1) << "the slot that became free";
  EXPECT_EQ(pages.LeastRecent(), 7);
}

TEST(DevicePagesTest, PinnedPagesStayAsOftenAsTheyArePinned) {
  DevicePages pages(4, 2);
  pages.Take(0);
  pages.Take(1);
  pages.Pin(0);
  pages.Pin(0);
  EXPECT_EQ(pages.LeastRecent(), 1);
  pages.Pin(1);
  EXPECT_EQ(pages.LeastRecent(), std::nullopt);
  pages.Unpin(0);
  EXPECT_EQ(pages.LeastRecent(), std::nullopt);
  pages.Unpin(0);
  EXPECT_EQ(pages.LeastRecent(), 0);
}

TEST(DevicePagesTest, APageIsSavedOnlyByACopyOfWhatItHoldsNow) {
  DevicePages pages(2, 2);
  EXPECT_TRUE(pages.empty(0));
  EXPECT_FALSE(pages.saved(0));
  pages.MarkWritten(0);
  EXPECT_FALSE(pages.empty(0));
  const std::int64_t old = pages.MarkSaving(0);
  EXPECT_TRUE(pages.saving(0));
  pages.MarkWritten(0);
  EXPECT_FALSE(pages.saving(0)) << "not what it holds";
  pages.MarkSaved(0, old);
  EXPECT_FALSE(pages.saved(0));
  const std::int64_t now = pages.MarkSaving(0);
  EXPECT_FALSE(pages.saved(0));
  pages.MarkSaved(0, now);
  EXPECT_TRUE(pages.saved(0));
  EXPECT_FALSE(pages.saving(0));
}

TEST(DevicePagesTest, ACopyThatFailedSavesNothing) {
  DevicePages pages(1, 1);
  pages.MarkWritten(0);
  pages.MarkNotSaved(0, pages.MarkSaving(0));
  EXPECT_FALSE(pages.saving(0));
  EXPECT_FALSE(pages.saved(0));
  pages.MarkSaved(0, pages.MarkSaving(0));
  EXPECT_TRUE(pages.saved(0));
}

TEST(DevicePagesTest, ACopyOfAForgottenPageSavesNothing) {
  DevicePages pages(1, 1);
  pages.Take(0);
  pages.MarkWritten(0);
  const std::int64_t version = pages.MarkSaving(0);
  pages.Forget(0);
  EXPECT_EQ(pages.n_free(), 1);
  EXPECT_TRUE(pages.empty(0));
  pages.MarkWritten(0);
  pages.MarkSaved(0, version);
  EXPECT_FALSE(pages.saved(0));
}

TEST(DevicePagesTest, RestoringGoesBackToTheHostsVersion) {
  DevicePages pages(1, 1);
  pages.Take(0);
  pages.MarkWritten(0);
  const std::int64_t version = pages.MarkSaving(0);
  pages.MarkSaved(0, version);
  pages.MarkWritten(0);
  pages.Restore(0, version + 1);
  EXPECT_EQ(pages.slot(0), 0) << "the host has no such version";
  pages.Restore(0, version);
  EXPECT_EQ(pages.slot(0), DevicePages::kNone);
  EXPECT_TRUE(pages.saved(0));
}

TEST(DevicePagesTest, WhatTheDeviceReadCountsAsUsed) {
  DevicePages pages(4, 4);
  for (const PageId page : {0, 1, 2}) pages.Take(page);
  const std::int32_t slot = pages.slot(0);
  std::vector<std::int32_t> read(4, 0);
  read[slot] = read[3] = 1;  // nobody has the last one
  pages.TouchRead(read);
  EXPECT_EQ(pages.LeastRecent(), 1);
}

TEST(DevicePagesTest, APageThatLeftItsSlotSaysSoOnce) {
  DevicePages pages(2, 1);
  pages.Take(0);
  EXPECT_FALSE(pages.TakeLeft(0));
  pages.Drop(0);
  pages.Take(0);
  EXPECT_TRUE(pages.TakeLeft(0));
  EXPECT_FALSE(pages.TakeLeft(0));
  EXPECT_FALSE(pages.TakeLeft(1));
}

TEST(DevicePagesTest, ThereIsNothingToGoBackToWhileTheHostsCopyIsOverwritten) {
  DevicePages pages(1, 1);
  pages.Take(0);
  pages.MarkWritten(0);
  const std::int64_t version = pages.MarkSaving(0);
  pages.MarkSaved(0, version);
  pages.MarkWritten(0);
  pages.MarkSaving(0);
  pages.Restore(0, version);
  EXPECT_EQ(pages.slot(0), 0);
}

}  // namespace
}  // namespace keyhole
