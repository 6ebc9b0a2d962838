#include "engine/scheduler/admission.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/request/error.h"

namespace keyhole {
namespace {

absl::Duration RetryAfter(const QueueLoad& load) {
  if (load.prefill_tokens_per_second <= 0) return absl::Seconds(1);
  const double seconds = static_cast<double>(load.waiting_tokens) / load.prefill_tokens_per_second;
  return absl::Seconds(std::clamp(seconds, 1.0, 60.0));
}

}  // namespace

absl::Status CheckKvCapacity(std::int64_t prompt_len,
                             std::int64_t max_output,
                             const AdmissionLimits& limits) {
  const std::int64_t tokens = prompt_len + max_output;
  const std::int64_t capacity = std::int64_t{limits.n_pages} * limits.page_size;
  if (tokens <= capacity) return absl::OkStatus();
  return MakeError(absl::StatusCode::kResourceExhausted,
                   absl::StrCat("Prompt and output of ",
                                tokens,
                                " tokens do not fit the server's KV memory of ",
                                capacity,
                                " tokens."),
                   {.reason = std::string(reason::kKvCapacity),
                    .metadata = {{"tokens", absl::StrCat(tokens)},
                                 {"capacity_tokens", absl::StrCat(capacity)}}});
}

absl::Status CheckQueue(std::int64_t prompt_len,
                        const QueueLoad& load,
                        const AdmissionLimits& limits) {
  if (load.waiting_requests < limits.max_queued_requests &&
      load.waiting_tokens + prompt_len <= limits.max_queued_tokens) {
    return absl::OkStatus();
  }
  return MakeError(absl::StatusCode::kResourceExhausted,
                   absl::StrCat("The queue is full: ",
                                load.waiting_requests,
                                " requests with ",
                                load.waiting_tokens,
                                " prompt tokens wait."),
                   {.reason = std::string(reason::kQueueFull),
                    .retry_after = RetryAfter(load),
                    .metadata = {{"waiting_requests", absl::StrCat(load.waiting_requests)},
                                 {"waiting_tokens", absl::StrCat(load.waiting_tokens)}}});
}

absl::Status CheckDeadline(absl::Duration time_left, const PrefillEstimate& estimate) {
  if (time_left <= absl::ZeroDuration()) return DeadlineError();
  if (estimate.tokens_per_second <= 0) return absl::OkStatus();
  const absl::Duration needed =
      absl::Seconds(static_cast<double>(estimate.tokens_ahead + estimate.prompt_len) /
                    estimate.tokens_per_second);
  if (needed <= time_left) return absl::OkStatus();
  const std::string needed_ms = absl::StrCat(absl::ToInt64Milliseconds(needed));
  const std::string left_ms = absl::StrCat(absl::ToInt64Milliseconds(time_left));
  return MakeError(absl::StatusCode::kDeadlineExceeded,
                   absl::StrCat("The first token needs about ",
                                needed_ms,
                                " ms, more than the ",
                                left_ms,
                                " ms before the deadline."),
                   {.reason = std::string(reason::kDeadlineUnattainable),
                    .metadata = {{"needed_ms", needed_ms}, {"time_left_ms", left_ms}}});
}

}  // namespace keyhole
