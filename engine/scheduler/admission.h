// May a request enter the queue at all? Pure arithmetic.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace keyhole {

struct AdmissionLimits {
  std::int32_t page_size = 0;  // tokens
  std::int32_t n_pages = 0;    // all of the pool
  std::int32_t max_queued_requests = 0;
  std::int64_t max_queued_tokens = 0;
};

struct QueueLoad {
  std::int32_t waiting_requests = 0;
  std::int64_t waiting_tokens = 0;       // to compute, of requests that have not started
  double prefill_tokens_per_second = 0;  // measured; 0: not known yet
};

// Can it ever fit? Errors: RESOURCE_EXHAUSTED KV_CAPACITY; waiting does not help.
absl::Status CheckKvCapacity(std::int64_t prompt_len,
                             std::int64_t max_output,
                             const AdmissionLimits& limits);

// Is there room in the queue for one more request of `prompt_len` tokens (0: not known yet)?
// Errors: RESOURCE_EXHAUSTED QUEUE_FULL with the time after which a retry is worth it.
absl::Status CheckQueue(std::int64_t prompt_len,
                        const QueueLoad& load,
                        const AdmissionLimits& limits);

struct PrefillEstimate {
  std::int64_t prompt_len = 0;    // of the part that is not cached
  std::int64_t tokens_ahead = 0;  // other prompts' tokens that are computed before
  double tokens_per_second = 0;   // measured; 0: not known, nothing is refused
};

// Can the first token come before `time_left` is over?
// Errors: DEADLINE_EXCEEDED with DEADLINE_UNATTAINABLE, or DEADLINE_EXCEEDED if it is over already.
absl::Status CheckDeadline(absl::Duration time_left, const PrefillEstimate& estimate);

// Tokens of another prompt that delay one of `prompt_len` tokens: prompts with less left go first,
// so that none delays it by more than its own length.
constexpr std::int64_t TokensAhead(std::int64_t other_left, std::int64_t prompt_len) {
  return other_left < prompt_len ? other_left : prompt_len;
}

}  // namespace keyhole
