// What the engine tells about itself; server/ turns it into metrics and log lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/batch/model_input.h"
#include "engine/request/response_sink.h"
#include "engine/types.h"

namespace keyhole {

// One step, as planned and as it ran.
struct StepRecord {
  std::int32_t prefill_tokens = 0;
  std::int32_t decode_sequences = 0;
  StepTimings timings;
  StepSelectionStats selection;
};

// One request, once it is over. Those that Submit itself refused are not told.
struct RequestRecord {
  RequestId id = 0;
  std::string client_request_id;
  std::string trace_parent;
  absl::Status status;     // OK: see finished; otherwise why it failed, was refused or cancelled
  bool started = false;    // it left the queue
  FinishedEvent finished;  // counts and times are filled in either case
  absl::Duration time_to_first_token = absl::ZeroDuration();
  absl::Duration time_per_output_token =
      absl::ZeroDuration();  // after the first; zero with fewer than two tokens
};

// Thread: OnStep on the engine thread, OnInterToken and OnRequestEnd on any engine-owned thread, on
// several at once; must not block.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void OnStep(const StepRecord& record) = 0;
  virtual void OnInterToken(absl::Duration gap) = 0;
  virtual void OnRequestEnd(const RequestRecord& record) = 0;

  // Why a step, or one sequence of it, failed: for the log only. The client gets a fixed text.
  // Thread: engine thread.
  virtual void OnSequenceFailure(RequestId /*id*/, const absl::Status& /*cause*/) {}

  // It works, but less well than asked. For the log. Thread: that which makes the engine, and the
  // executor thread.
  virtual void OnWarning(std::string_view /*text*/) {}
  // While the engine is made: what it is busy with, and what it has found.
  virtual void OnNotice(std::string_view /*text*/) {}
};

// What the prefix cache did since the start, and holds.
struct PrefixCacheStats {
  std::int64_t queried_tokens = 0;  // prompt tokens of requests that started
  std::int64_t hit_tokens = 0;      // of these, taken from the cache
  std::int64_t evicted_pages = 0;
  std::int64_t pages = 0;       // held by the cache
  std::int64_t idle_pages = 0;  // of these, held by nobody else
};

// Where KV pages lie with an accelerator, and what moved since the start.
struct DevicePagesSnapshot {
  std::int64_t pages = 0;       // that fit on it at once
  std::int64_t pages_used = 0;  // of these, after the last step
  std::int64_t host_pages = 0;  // that have a place on the host too: all of them, or none
  // Selected rows where pages can leave the accelerator: those of pages on it, those that were
  // fetched before, those that were fetched for the step.
  std::int64_t page_rows = 0;
  std::int64_t hot_rows = 0;
  std::int64_t fetched_rows = 0;
  std::int64_t fetched_bytes = 0;  // of rows and of whole pages
  std::int64_t spilled_pages = 0;  // that gave up their place on it
};

// State of the engine at one moment, for gauges and health.
struct EngineSnapshot {
  std::int32_t running_requests = 0;
  std::int32_t waiting_requests = 0;
  std::int64_t waiting_tokens = 0;
  std::int64_t kv_pages = 0;
  std::int64_t kv_pages_used = 0;  // by requests: without what only the prefix cache holds
  std::int64_t kv_page_bytes = 0;
  std::optional<DevicePagesSnapshot> device_pages;  // unset without an accelerator
  PrefixCacheStats prefix_cache;
  absl::Time heartbeat = absl::InfinitePast();       // last turn of the engine thread
  absl::Time step_started = absl::InfiniteFuture();  // of the step that runs, to see a stuck one
  bool draining = false;
  absl::Status failure;  // not OK: no request can succeed any more
};

}  // namespace keyhole
