#include "engine/scheduler/admission.h"

#include <gtest/gtest.h>

#include "engine/request/error.h"
#include "engine/scheduler/prefill_speed.h"

namespace keyhole {
namespace {

constexpr AdmissionLimits kLimits = {
    .page_size = 4, .n_pages = 10, .max_queued_requests = 3, .max_queued_tokens = 100};

TEST(AdmissionTest, CapacityIsThatOfAllPages) {
  EXPECT_TRUE(CheckKvCapacity(30, 10, kLimits).ok());
  const absl::Status status = CheckKvCapacity(30, 11, kLimits);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorDetail(status).reason, reason::kKvCapacity);
  EXPECT_FALSE(GetErrorDetail(status).retry_after);  // waiting does not help
}

TEST(AdmissionTest, SizesNearTheEndOfTheirTypeDoNotWrap) {
  const AdmissionLimits limits{.page_size = 64, .n_pages = 2'147'483'647};
  EXPECT_TRUE(CheckKvCapacity(2'147'483'647, 2'147'483'647, limits).ok());
  EXPECT_FALSE(CheckKvCapacity(2'147'483'647, 2'147'483'647, kLimits).ok());
}

TEST(AdmissionTest, QueueCountsRequestsAndTokens) {
  EXPECT_TRUE(CheckQueue(50, {.waiting_requests = 2, .waiting_tokens = 50}, kLimits).ok());
  EXPECT_FALSE(CheckQueue(51, {.waiting_requests = 2, .waiting_tokens = 50}, kLimits).ok());
  EXPECT_FALSE(CheckQueue(0, {.waiting_requests = 3}, kLimits).ok());
}

TEST(AdmissionTest, RetryComesFromTheSpeed) {
  const auto retry = [](double speed) {
    const QueueLoad load{
        .waiting_requests = 3, .waiting_tokens = 1000, .prefill_tokens_per_second = speed};
    return *GetErrorDetail(CheckQueue(1, load, kLimits)).retry_after;
  };
  EXPECT_EQ(retry(0), absl::Seconds(1));
  EXPECT_EQ(retry(100), absl::Seconds(10));
  EXPECT_EQ(retry(1e6), absl::Seconds(1));
  EXPECT_EQ(retry(0.001), absl::Seconds(60));
}

TEST(AdmissionTest, DeadlineThatCannotBeMetIsRefused) {
  const PrefillEstimate estimate{.prompt_len = 600, .tokens_ahead = 400, .tokens_per_second = 100};
  EXPECT_TRUE(CheckDeadline(absl::Seconds(10), estimate).ok());
  const absl::Status status = CheckDeadline(absl::Seconds(9), estimate);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(GetErrorDetail(status).reason, reason::kDeadlineUnattainable);
  EXPECT_EQ(GetErrorDetail(CheckDeadline(absl::ZeroDuration(), estimate)).reason,
            reason::kDeadlineExceeded);
}

TEST(AdmissionTest, NothingIsRefusedBeforeTheSpeedIsKnown) {
  EXPECT_TRUE(CheckDeadline(absl::Milliseconds(1), {.prompt_len = 1'000'000}).ok());
  EXPECT_TRUE(CheckDeadline(absl::InfiniteDuration(),
                            {.prompt_len = 1'000'000, .tokens_ahead = 5, .tokens_per_second = 1})
                  .ok());
}

TEST(AdmissionTest, ALongPromptAheadDelaysAShortOneByItsOwnLengthAtMost) {
  EXPECT_EQ(TokensAhead(100'000, 10), 10);
  EXPECT_EQ(TokensAhead(3, 10), 3);
}

TEST(PrefillSpeedTest, IsTokensOverTime) {
  PrefillSpeed speed;
  EXPECT_EQ(speed.tokens_per_second(), 0);
  speed.Add(100, absl::Seconds(1));
  EXPECT_DOUBLE_EQ(speed.tokens_per_second(), 100);
  for (int i = 0; i < 200; ++i) speed.Add(100, absl::Milliseconds(500));
  EXPECT_NEAR(speed.tokens_per_second(), 200, 1);
}

}  // namespace
}  // namespace keyhole
