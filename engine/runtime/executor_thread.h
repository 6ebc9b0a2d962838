// The thread on which the model runs, with a slot for one step.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "engine/runtime/step_executor.h"
#include "engine/runtime/step_runner.h"

namespace keyhole {

// The only meeting point of engine thread and executor: a step goes in, its result comes out.
// Thread: methods on the engine thread; the executor is called on this object's own thread.
class ExecutorThread final : public StepRunner {
 public:
  // `on_done` is called on the executor thread when a result is ready; it must not block.
  // REQUIRES: `executor` outlives this object.
  ExecutorThread(StepExecutor* executor, absl::AnyInvocable<void()> on_done);

  // Waits for the step that runs.
  ~ExecutorThread() override;

  void Start(ModelInput input) override;
  std::optional<absl::StatusOr<StepResult>> TryTake() override;

 private:
  void Loop();

  StepExecutor* executor_;
  absl::AnyInvocable<void()> on_done_;

  std::mutex mutex_;  // guards what follows, down to the thread
  std::condition_variable started_;
  std::optional<ModelInput> input_;
  std::optional<absl::StatusOr<StepResult>> result_;
  bool stop_ = false;

  std::thread thread_;
};

}  // namespace keyhole
