#include "server/call.h"

#include "gtest/gtest.h"

namespace keyhole {
namespace {

TEST(TraceParentTest, OnlyTheSpecifiedShape) {
  EXPECT_TRUE(IsTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  EXPECT_FALSE(IsTraceParent(""));
  EXPECT_FALSE(IsTraceParent("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  EXPECT_FALSE(IsTraceParent("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
  EXPECT_FALSE(IsTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x"));
  EXPECT_FALSE(IsTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\n1"));
}

}  // namespace
}  // namespace keyhole
