#include "engine/runtime/request_registry.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "engine/request/error.h"

namespace keyhole {
namespace {

constexpr AdmissionLimits kLimits = {
    .page_size = 4, .n_pages = 100, .max_queued_requests = 3, .max_queued_tokens = 100};

RequestRegistry::Candidate Prompt(std::int32_t prompt_len) {
  return {.prompt_len = prompt_len, .max_output = 8};
}

std::string ReasonOf(const absl::Status& status) { return GetErrorDetail(status).reason; }

TEST(RequestRegistryTest, CountsWhatWaitsAndWhatRuns) {
  RequestRegistry registry(kLimits);
  const RequestId first = *registry.Open("");
  const RequestId second = *registry.Open("");
  EXPECT_NE(first, second);
  ASSERT_TRUE(registry.Admit(first, Prompt(30)).ok());
  EXPECT_EQ(registry.counts().waiting, 2);
  EXPECT_EQ(registry.counts().waiting_tokens, 30);
  registry.OnStarted(first, 10);
  EXPECT_EQ(registry.counts().running, 1);
  EXPECT_EQ(registry.counts().waiting_tokens, 0);
}

TEST(RequestRegistryTest, QueueIsBoundedInRequestsAndTokens) {
  RequestRegistry registry(kLimits);
  const RequestId first = *registry.Open("");
  const RequestId second = *registry.Open("");
  const RequestId third = *registry.Open("");
  EXPECT_EQ(ReasonOf(registry.Open("").status()), reason::kQueueFull);
  EXPECT_TRUE(registry.Admit(first, Prompt(60)).ok());
  EXPECT_EQ(ReasonOf(registry.Admit(second, Prompt(41))), reason::kQueueFull);
  EXPECT_TRUE(registry.Admit(third, Prompt(40)).ok());
  registry.Forget(second);
  EXPECT_TRUE(registry.Open("").ok());
}

TEST(RequestRegistryTest, NamesAreUniqueUntilReleased) {
  RequestRegistry registry(kLimits);
  const RequestId id = *registry.Open("mine");
  EXPECT_EQ(ReasonOf(registry.Open("mine").status()), reason::kRequestIdInUse);
  EXPECT_TRUE(registry.Open("").ok());
  EXPECT_TRUE(registry.Open("").ok());  // no name is no clash
  registry.ReleaseName(id);
  registry.TextDone(id);
  EXPECT_TRUE(registry.Open("mine").ok());
}

TEST(RequestRegistryTest, DeadlineIsCheckedAgainstShorterPromptsAhead) {
  RequestRegistry registry(kLimits);
  const RequestId running = *registry.Open("");
  ASSERT_TRUE(registry.Admit(running, Prompt(80)).ok());
  ASSERT_TRUE(registry.Arrive(running, 80, absl::InfiniteDuration()).ok());
  registry.OnStarted(running, 80);
  registry.OnPrefill(running, 72, /*tokens_per_second=*/10);
  const RequestId later = *registry.Open("");  // not ahead: it has not arrived
  ASSERT_TRUE(registry.Admit(later, Prompt(10)).ok());
  const RequestId id = *registry.Open("");
  ASSERT_TRUE(registry.Admit(id, Prompt(20)).ok());
  // Needs 20 own and 20 of the other: 4 s.
  EXPECT_EQ(ReasonOf(registry.Arrive(id, 20, absl::Milliseconds(3900))),
            reason::kDeadlineUnattainable);
  EXPECT_TRUE(registry.Arrive(id, 20, absl::Seconds(4)).ok());
}

TEST(RequestRegistryTest, CachedTokensAreNotWork) {
  RequestRegistry registry(kLimits);
  const RequestId running = *registry.Open("");
  ASSERT_TRUE(registry.Admit(running, Prompt(8)).ok());
  registry.OnPrefill(running, 0, /*tokens_per_second=*/10);
  const RequestId id = *registry.Open("");
  ASSERT_TRUE(registry.Admit(id, Prompt(80)).ok());
  ASSERT_TRUE(registry.Arrive(id, 10, absl::Seconds(1)).ok());
  EXPECT_EQ(registry.counts().waiting_tokens, 10);
}

TEST(RequestRegistryTest, EntriesLiveUntilBothSidesAreDone) {
  RequestRegistry registry(kLimits);
  const RequestId id = *registry.Open("");
  ASSERT_TRUE(registry.Admit(id, Prompt(5)).ok());
  registry.TextDone(id);
  EXPECT_FALSE(registry.WaitEmpty(absl::Now() + absl::Milliseconds(20)));
  registry.EngineDone(id);
  EXPECT_TRUE(registry.WaitEmpty(absl::Now()));
}

TEST(RequestRegistryTest, WhatTheEngineIsDoneWithDelaysNobody) {
  RequestRegistry registry(kLimits);
  const RequestId over = *registry.Open("");
  ASSERT_TRUE(registry.Admit(over, Prompt(50)).ok());
  registry.OnStarted(over, 50);
  registry.OnPrefill(over, 40, /*tokens_per_second=*/10);
  registry.EngineDone(over);  // its last event is still on its way
  const RequestId id = *registry.Open("");
  ASSERT_TRUE(registry.Admit(id, Prompt(20)).ok());
  EXPECT_TRUE(registry.Arrive(id, 20, absl::Seconds(2)).ok());
}

TEST(RequestRegistryTest, CancelIsNewsOnce) {
  RequestRegistry registry(kLimits);
  const RequestId id = *registry.Open("");
  EXPECT_TRUE(registry.Cancel(id));
  EXPECT_FALSE(registry.Cancel(id));
  EXPECT_FALSE(registry.Cancel(id + 1));
  EXPECT_TRUE(registry.cancelled(id));
  EXPECT_EQ(ReasonOf(registry.Admit(id, Prompt(5))), reason::kCancelled);
  EXPECT_EQ(ReasonOf(registry.Arrive(id, 5, absl::InfiniteDuration())), reason::kCancelled);
}

TEST(RequestRegistryTest, DrainingRefuses) {
  RequestRegistry registry(kLimits);
  registry.StartDrain();
  EXPECT_EQ(ReasonOf(registry.Open("").status()), reason::kDraining);
  EXPECT_TRUE(registry.counts().draining);
}

}  // namespace
}  // namespace keyhole
