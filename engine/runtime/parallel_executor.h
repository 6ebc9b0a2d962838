// Runs the steps of rank 0 of a tensor-parallel model, and has the other ranks run them too.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/parallel/process_group.h"
#include "engine/parallel/step_message.h"
#include "engine/runtime/step_executor.h"

namespace keyhole {

// The first failure, of whichever rank, is final: this rank leaves the group, so that no other
// waits for it, and every later step gets the same error. While no step runs, a message goes out
// now and then, so that a rank that dies is missed without a request. Owner: the engine. Thread: as
// said at each method; Run, the beat and Close take turns.
class ParallelExecutor final : public StepExecutor {
 public:
  // `beat`: between two messages at most. REQUIRES: the group has rank 0.
  ParallelExecutor(std::unique_ptr<ProcessGroup> group,
                   std::unique_ptr<StepExecutor> local,
                   absl::Duration beat);

  // Lets the other ranks go, as Close.
  ~ParallelExecutor() override;

  // Errors: UNAVAILABLE where a rank has gone; INTERNAL where one failed or selected other rows.
  absl::StatusOr<StepResult> Run(const ModelInput& input) override;

  // The first failure. Thread: any.
  absl::Status health() const override;

  // The other ranks end well; no step comes after. Thread: any.
  void Close() override;

  // The page's memory may go, here at once and elsewhere with the next step. Thread: engine.
  void Discard(PageId page) override;

 private:
  absl::StatusOr<StepResult> RunStep(const ModelInput& input);
  absl::Status Fail(absl::Status cause);
  std::vector<PageId> TakeFreed();
  void Beat();

  // In this order: the local executor's model uses the group.
  std::unique_ptr<ProcessGroup> group_;
  std::unique_ptr<StepExecutor> local_;
  const absl::Duration beat_;

  std::mutex turn_;  // held while something is said to the group; guards what follows
  StepEncoder encoder_;
  std::chrono::steady_clock::time_point last_message_;
  bool closed_ = false;

  mutable std::mutex state_mutex_;  // guards what follows, down to the thread
  absl::Status health_;
  std::vector<PageId> freed_;
  std::condition_variable stopped_;
  bool stop_ = false;

  std::thread beat_thread_;
};

}  // namespace keyhole
