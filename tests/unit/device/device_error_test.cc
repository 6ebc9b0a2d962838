#include "engine/device/device_error.h"

#include <gtest/gtest.h>

#include <string>

namespace keyhole {
namespace {

TEST(DeviceErrorTest, OnlyMarkedErrorsAreSticky) {
  EXPECT_FALSE(IsSticky(absl::OkStatus()));
  EXPECT_FALSE(IsSticky(absl::InternalError("a launch")));
  const absl::Status sticky = MarkSticky(absl::InternalError("an illegal address"));
  EXPECT_TRUE(IsSticky(sticky));
  EXPECT_EQ(sticky.code(), absl::StatusCode::kInternal);
  EXPECT_NO_THROW(ThrowIfFailed(absl::OkStatus()));
  try {
    ThrowIfFailed(sticky);
    FAIL() << "no exception";
  } catch (const DeviceError& error) {
    EXPECT_TRUE(IsSticky(error.status()));
    EXPECT_NE(std::string(error.what()).find("an illegal address"), std::string::npos);
  }
}

}  // namespace
}  // namespace keyhole
