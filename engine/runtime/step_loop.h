// The engine thread's work: plan, reserve, build, run, commit or release.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/kv/invariants.h"
#include "engine/kv/page_pool.h"
#include "engine/request/sequence.h"
#include "engine/runtime/clock.h"
#include "engine/runtime/engine_inbox.h"
#include "engine/runtime/prefix_cache.h"
#include "engine/runtime/request_registry.h"
#include "engine/runtime/step_runner.h"
#include "engine/runtime/stream_event.h"
#include "engine/scheduler/prefill_speed.h"
#include "engine/scheduler/scheduler.h"
#include "engine/telemetry/engine_observer.h"

namespace keyhole {

// Collaborators; all outlive the loop.
struct StepLoopContext {
  const Clock* clock = nullptr;
  PagePool* pool = nullptr;
  StepRunner* runner = nullptr;
  StreamOutput* output = nullptr;
  RequestRegistry* registry = nullptr;
  EngineObserver* observer = nullptr;  // may be null
  std::vector<TokenId> end_tokens;
  PrefixCacheSettings prefix_cache = {};  // its page and chunk sizes are the scheduler's
};

// What other threads may know of the loop.
struct LoopStatus {
  std::optional<Instant> heartbeat;     // last turn; unset before the first
  std::optional<Instant> step_started;  // of the step that runs
  std::int64_t pages_used = 0;          // by sequences
  PrefixCacheStats prefix_cache;
};

// Owner of all sequences that were admitted. A sequence that ends while a step refers to its pages
// is out of planning at once and keeps the pages until the step is back. Thread: engine thread
// only. Never waits.
class StepLoop {
 public:
  StepLoop(const SchedulerLimits& limits, StepLoopContext context);

  // One turn: takes in mail, ends what is over its time, takes the result of a step that is done,
  // submits the next one if none runs.
  void Turn(EngineMail mail);

  // Ends every sequence, as the engine goes away: turn until idle() after it.
  void EndAll();

  bool idle() const { return sequences_.empty() && !in_flight_; }
  absl::Time next_deadline() const;  // a turn is due then even without mail
  LoopStatus status() const;

  // For tests: every page is free, or held by sequences and the prefix cache as often as it counts.
  std::vector<std::string> CheckInvariants() const;

 private:
  struct InFlight {
    StepPlan plan;
    std::vector<RequestId> ids;  // in the order of the model's input
    Instant started;
  };

  void ReadClock();
  void TakeMail(EngineMail mail);
  void Arrive(std::unique_ptr<Sequence> sequence);
  Sequence* Find(RequestId id);

  void EndOverdue();
  bool EndIfOverdue(Sequence& sequence);
  void Finish(Sequence& sequence, FinishReason reason);
  void Fail(Sequence& sequence, absl::Status status);
  void Retire(Sequence& sequence);
  void Erase(Sequence& sequence);

  void SubmitStep();
  bool TryStart(Sequence& sequence);
  void Start(Sequence& sequence, PageGrant grant);

  void TakeResult();
  void CommitStep(const InFlight& step, StepResult result);
  void CommitSequence(Sequence& sequence, const InFlight& step, SequenceResult result);
  void CommitToken(Sequence& sequence, TokenInfo token);
  void ReportProgress(Sequence& sequence);
  void FailStep(const std::vector<RequestId>& ids, const absl::Status& cause);

  StepLoopContext context_;
  std::int32_t page_size_;
  PrefixCache prefix_cache_;
  Scheduler scheduler_;
  PrefillSpeed prefill_speed_;
  std::map<RequestId, std::unique_ptr<Sequence>> sequences_;
  std::vector<RequestId> ended_;  // for the executor, with the next step
  std::optional<InFlight> in_flight_;
  std::optional<absl::Time> drain_deadline_;
  absl::Time now_ = absl::InfinitePast();  // of this turn, for deadlines
  Instant instant_;                        // the same, for what is measured
};

}  // namespace keyhole
