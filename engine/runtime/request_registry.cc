#include "engine/runtime/request_registry.h"

#include <algorithm>
#include <chrono>

#include "absl/time/clock.h"
#include "engine/request/error.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<RequestId> RequestRegistry::Open(const std::string& client_request_id) {
  const std::lock_guard lock(mutex_);
  if (draining_) return DrainingError();
  if (names_.contains(client_request_id)) {
    return MakeError(absl::StatusCode::kAlreadyExists,
                     "A request with this client_request_id is still running.",
                     {.reason = std::string(reason::kRequestIdInUse),
                      .field = "client_request_id",
                      .metadata = {{"client_request_id", client_request_id}}});
  }
  KEYHOLE_RETURN_IF_ERROR(CheckQueue(0, LoadLocked(), limits_));
  const RequestId id = next_id_++;
  if (!client_request_id.empty()) names_.insert(client_request_id);
  entries_.emplace(id, Entry{.name = client_request_id});
  return id;
}

void RequestRegistry::Forget(RequestId id) {
  ReleaseName(id);
  TextDone(id);
}

absl::Status RequestRegistry::Admit(RequestId id, const Candidate& candidate) {
  const std::lock_guard lock(mutex_);
  KEYHOLE_RETURN_IF_ERROR(CheckKvCapacity(candidate.prompt_len, candidate.max_output, limits_));
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || entry->second.cancelled) return CancelledError();
  QueueLoad load = LoadLocked();
  --load.waiting_requests;  // this one
  KEYHOLE_RETURN_IF_ERROR(CheckQueue(candidate.prompt_len, load, limits_));
  entry->second.stage = Stage::kQueued;
  entry->second.prompt_left = candidate.prompt_len;
  entry->second.engine_done = false;
  return absl::OkStatus();
}

absl::Status RequestRegistry::Arrive(RequestId id,
                                     std::int32_t prompt_left,
                                     absl::Duration time_left) {
  const std::lock_guard lock(mutex_);
  const auto arriving = entries_.find(id);
  if (arriving == entries_.end() || arriving->second.cancelled) return CancelledError();
  PrefillEstimate estimate{.prompt_len = prompt_left,
                           .tokens_per_second = prefill_tokens_per_second_};
  for (const auto& [other, entry] : entries_) {
    if (entry.arrived) estimate.tokens_ahead += TokensAhead(entry.prompt_left, prompt_left);
  }
  KEYHOLE_RETURN_IF_ERROR(CheckDeadline(time_left, estimate));
  arriving->second.prompt_left = prompt_left;
  arriving->second.arrived = true;
  return absl::OkStatus();
}

void RequestRegistry::OnStarted(RequestId id, std::int32_t prompt_left) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  entry->second.stage = Stage::kRunning;
  entry->second.prompt_left = prompt_left;
}

void RequestRegistry::OnPrefill(RequestId id, std::int32_t prompt_left, double tokens_per_second) {
  const std::lock_guard lock(mutex_);
  prefill_tokens_per_second_ = tokens_per_second;
  const auto entry = entries_.find(id);
  if (entry != entries_.end()) entry->second.prompt_left = prompt_left;
}

bool RequestRegistry::Cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || entry->second.cancelled) return false;
  entry->second.cancelled = true;
  return true;
}

bool RequestRegistry::cancelled(RequestId id) const {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  return entry != entries_.end() && entry->second.cancelled;
}

void RequestRegistry::ReleaseName(RequestId id) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  names_.erase(entry->second.name);
  entry->second.name.clear();
}

void RequestRegistry::TextDone(RequestId id) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  entry->second.text_done = true;
  EraseIfDoneLocked(id);
}

void RequestRegistry::EngineDone(RequestId id) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  entry->second.engine_done = true;
  entry->second.prompt_left = 0;
  EraseIfDoneLocked(id);
}

void RequestRegistry::EraseIfDoneLocked(RequestId id) {
  const auto entry = entries_.find(id);
  if (!entry->second.text_done || !entry->second.engine_done) return;
  entries_.erase(entry);
  if (entries_.empty()) empty_.notify_all();
}

void RequestRegistry::StartDrain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

RequestRegistry::Counts RequestRegistry::counts() const {
  const std::lock_guard lock(mutex_);
  return CountsLocked();
}

RequestRegistry::Counts RequestRegistry::CountsLocked() const {
  Counts counts{.draining = draining_};
  for (const auto& [id, entry] : entries_) {
    if (entry.stage == Stage::kRunning) {
      ++counts.running;
    } else {
      ++counts.waiting;
      counts.waiting_tokens += entry.prompt_left;
    }
  }
  return counts;
}

QueueLoad RequestRegistry::LoadLocked() const {
  const Counts counts = CountsLocked();
  return {.waiting_requests = counts.waiting,
          .waiting_tokens = counts.waiting_tokens,
          .prefill_tokens_per_second = prefill_tokens_per_second_};
}

bool RequestRegistry::WaitEmpty(absl::Time deadline) {
  // Short waits, so that neither a far deadline nor a jump of the clock matters.
  constexpr absl::Duration kLongestWait = absl::Seconds(1);
  std::unique_lock lock(mutex_);
  while (!entries_.empty()) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    empty_.wait_for(lock, absl::ToChronoNanoseconds(std::min(left, kLongestWait)));
  }
  return true;
}

}  // namespace keyhole
