// All requests between Submit and their last event: names, counts of the queue, cancels.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/scheduler/admission.h"
#include "engine/types.h"

namespace keyhole {

// An entry lives until the text side has sent the last event and the engine thread has given the
// pages back. Unknown ids are ignored.
// Thread: any; every method is short.
class RequestRegistry {
 public:
  explicit RequestRegistry(const AdmissionLimits& limits) : limits_(limits) {}

  // A new request. Errors: DRAINING, REQUEST_ID_IN_USE, QUEUE_FULL.
  absl::StatusOr<RequestId> Open(const std::string& client_request_id);

  // Undoes Open.
  void Forget(RequestId id);

  struct Candidate {
    std::int32_t prompt_len = 0;
    std::int32_t max_output = 0;
  };

  // Counts the request among the queued; from now on the engine thread must call EngineDone.
  // Errors: KV_CAPACITY, QUEUE_FULL, CANCELLED.
  absl::Status Admit(RequestId id, const Candidate& candidate);

  // It came to the engine thread, `prompt_left` of its prompt are not cached and `time_left` is to
  // the call's deadline. Errors: CANCELLED, DEADLINE_UNATTAINABLE, DEADLINE_EXCEEDED.
  absl::Status Arrive(RequestId id, std::int32_t prompt_left, absl::Duration time_left);

  // It left the queue; then, how much of its prompt is still to be computed.
  void OnStarted(RequestId id, std::int32_t prompt_left);
  void OnPrefill(RequestId id, std::int32_t prompt_left, double tokens_per_second);

  // Returns whether this is news: an open request that nobody cancelled before.
  bool Cancel(RequestId id);
  bool cancelled(RequestId id) const;

  // Its client_request_id may be used again: just before the last event is sent.
  void ReleaseName(RequestId id);
  void TextDone(RequestId id);
  void EngineDone(RequestId id);

  void StartDrain();

  struct Counts {
    std::int32_t running = 0;
    std::int32_t waiting = 0;
    std::int64_t waiting_tokens = 0;
    bool draining = false;
  };
  Counts counts() const;

  // Waits until no request is open. Returns whether that came before `deadline`, real time.
  bool WaitEmpty(absl::Time deadline);

 private:
  enum class Stage { kPreparing, kQueued, kRunning };
  struct Entry {
    std::string name;  // client_request_id; empty: none, or released
    Stage stage = Stage::kPreparing;
    std::int32_t prompt_left = 0;
    bool arrived = false;  // ahead of those that arrive later
    bool cancelled = false;
    bool text_done = false;
    bool engine_done = true;  // false while the engine thread knows the request
  };

  Counts CountsLocked() const;
  QueueLoad LoadLocked() const;
  void EraseIfDoneLocked(RequestId id);

  const AdmissionLimits limits_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable empty_;
  absl::flat_hash_map<RequestId, Entry> entries_;
  absl::flat_hash_set<std::string> names_;
  RequestId next_id_ = 1;
  double prefill_tokens_per_second_ = 0;
  bool draining_ = false;
};

}  // namespace keyhole
