// Runs one step at a time, apart from the engine thread.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "engine/batch/model_input.h"

namespace keyhole {

// Implemented by ExecutorThread, and by tests that decide when a step is done.
// Thread: engine thread only.
class StepRunner {
 public:
  virtual ~StepRunner() = default;

  // REQUIRES: no step runs. What the spans of `input` point to stays unchanged until TryTake.
  virtual void Start(ModelInput input) = 0;

  // The result of the step, once; nothing while it still runs. Never waits.
  virtual std::optional<absl::StatusOr<StepResult>> TryTake() = 0;
};

}  // namespace keyhole
