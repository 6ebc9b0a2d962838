#include "server/status_map.h"

#include <string>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

template <typename Detail>
int Count(const google::rpc::Status& details, Detail* last) {
  int count = 0;
  for (const auto& any : details.details()) {
    if (any.UnpackTo(last)) ++count;
  }
  return count;
}

TEST(StatusMapTest, OneErrorInfoWithMetadataAndViolation) {
  const absl::Status status = MakeError(absl::StatusCode::kInvalidArgument,
                                        "Too long.",
                                        {.reason = std::string(reason::kPromptTooLong),
                                         .field = "prompt",
                                         .retry_after = {},
                                         .metadata = {{"prompt_tokens", "9"}, {"max", "8"}}});
  const grpc::Status mapped = ToGrpcStatus(ToPublicStatus(status));
  EXPECT_EQ(mapped.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(mapped.error_message(), "Too long.");
  const google::rpc::Status details = Details(mapped);
  EXPECT_EQ(details.code(), 3);
  google::rpc::ErrorInfo info;
  ASSERT_EQ(Count(details, &info), 1);
  EXPECT_EQ(info.domain(), "keyhole.dev");
  EXPECT_EQ(info.reason(), "PROMPT_TOO_LONG");
  EXPECT_EQ(info.metadata().at("prompt_tokens"), "9");
  google::rpc::BadRequest bad;
  ASSERT_EQ(Count(details, &bad), 1);
  EXPECT_EQ(bad.field_violations(0).field(), "prompt");
  google::rpc::RetryInfo retry;
  EXPECT_EQ(Count(details, &retry), 0);
}

TEST(StatusMapTest, TheRequestsIdJoinsTheMetadata) {
  const absl::Status status = MakeError(absl::StatusCode::kResourceExhausted,
                                        "Full.",
                                        {.reason = std::string(reason::kQueueFull),
                                         .field = "prompt",
                                         .retry_after = absl::Seconds(2),
                                         .metadata = {{"waiting_requests", "3"}}});
  const absl::Status told = WithRequestId(status, 7);
  EXPECT_EQ(told.code(), status.code());
  EXPECT_EQ(told.message(), status.message());
  const ErrorDetail detail = GetErrorDetail(told);
  EXPECT_EQ(detail.reason, reason::kQueueFull);
  EXPECT_EQ(detail.field, "prompt");
  EXPECT_EQ(detail.retry_after, absl::Seconds(2));
  EXPECT_THAT(detail.metadata, ElementsAre(Pair("waiting_requests", "3"), Pair("request_id", "7")));
  EXPECT_EQ(WithRequestId(status, 0), status);
  EXPECT_TRUE(WithRequestId(absl::OkStatus(), 7).ok());
}

TEST(StatusMapTest, QueueFullTellsWhenToComeBack) {
  const absl::Status status = MakeError(absl::StatusCode::kResourceExhausted,
                                        "Full.",
                                        {.reason = std::string(reason::kQueueFull),
                                         .field = "",
                                         .retry_after = absl::Milliseconds(1500),
                                         .metadata = {}});
  google::rpc::RetryInfo retry;
  EXPECT_EQ(Count(Details(ToGrpcStatus(status)), &retry), 1);
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(RetryPushback(GetErrorDetail(status)), "1500");
  EXPECT_EQ(RetryPushback(GetErrorDetail(DrainingError())), std::nullopt);
}

TEST(StatusMapTest, UnknownFaultsBecomeInternalWithoutTheirText) {
  for (const absl::Status& status : {absl::UnknownError("/secret/path"),
                                     absl::InternalError("std::bad_alloc at 0x1"),
                                     absl::FailedPreconditionError("what"),
                                     absl::ResourceExhaustedError("memory")}) {
    const absl::Status told = ToPublicStatus(status);
    EXPECT_EQ(told.code(), absl::StatusCode::kInternal);
    EXPECT_EQ(GetErrorDetail(told).reason, reason::kInternal);
    EXPECT_EQ(told.message(), InternalError().message());
  }
}

TEST(StatusMapTest, PlainCodesOfTheCallKeepTheirs) {
  EXPECT_EQ(GetErrorDetail(ToPublicStatus(absl::CancelledError())).reason, reason::kCancelled);
  EXPECT_EQ(GetErrorDetail(ToPublicStatus(absl::DeadlineExceededError(""))).reason,
            reason::kDeadlineExceeded);
  const absl::Status invalid = ToPublicStatus(absl::InvalidArgumentError("roles out of order"));
  EXPECT_EQ(invalid.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorDetail(invalid).reason, reason::kInvalidParameter);
  EXPECT_EQ(invalid.message(), "roles out of order");
  EXPECT_TRUE(ToPublicStatus(absl::OkStatus()).ok());
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

TEST(StatusMapTest, DetailsStayFarBelowTheTrailerLimit) {
  ErrorDetail detail{.reason = std::string(reason::kInvalidParameter),
                     .field = std::string(100'000, 'f'),
                     .retry_after = {},
                     .metadata = {{"value", std::string(100'000, 'v')}}};
  const absl::Status status =
      MakeError(absl::StatusCode::kInvalidArgument, "Bad.", std::move(detail));
  EXPECT_LT(ToGrpcStatus(status).error_details().size(), 4096);
}

TEST(StatusMapTest, ClippedTextIsWholeCharacters) {
  std::string text(255, 'x');
  text += "\xC3\xA9";  // its second byte is beyond the limit
  const absl::Status told = ToPublicStatus(absl::InvalidArgumentError(text));
  EXPECT_EQ(told.message(), std::string(255, 'x'));
}

}  // namespace
}  // namespace keyhole
