#include "engine/request/error.h"

#include <gtest/gtest.h>

#include <string>

namespace keyhole {
namespace {

TEST(ErrorTest, DetailSurvivesTheStatus) {
  const absl::Status status =
      MakeError(absl::StatusCode::kResourceExhausted,
                "text",
                {.reason = std::string(reason::kQueueFull),
                 .field = "a.b",
                 .retry_after = absl::Milliseconds(1500),
                 .metadata = {{"key", "12:34"}, {"", std::string("\0x", 2)}}});
  const ErrorDetail detail = GetErrorDetail(status);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "text");
  EXPECT_EQ(detail.reason, reason::kQueueFull);
  EXPECT_EQ(detail.field, "a.b");
  EXPECT_EQ(detail.retry_after, absl::Milliseconds(1500));
  ASSERT_EQ(detail.metadata.size(), 2);
  EXPECT_EQ(detail.metadata[0].second, "12:34");
  EXPECT_EQ(detail.metadata[1].second, std::string("\0x", 2));
}

TEST(ErrorTest, OtherStatusesAreInternal) {
  const ErrorDetail detail = GetErrorDetail(absl::NotFoundError("x"));
  EXPECT_EQ(detail.reason, reason::kInternal);
  EXPECT_FALSE(detail.retry_after);
}

TEST(ErrorTest, EveryCommonErrorHasItsReason) {
  EXPECT_EQ(GetErrorDetail(CancelledError()).reason, reason::kCancelled);
  EXPECT_EQ(GetErrorDetail(DeadlineError()).reason, reason::kDeadlineExceeded);
  EXPECT_EQ(GetErrorDetail(DrainingError()).reason, reason::kDraining);
  EXPECT_EQ(GetErrorDetail(InternalError()).reason, reason::kInternal);
  EXPECT_EQ(GetErrorDetail(InvalidParameterError("f", "m")).field, "f");
}

}  // namespace
}  // namespace keyhole
