// Runs steps of a model: the seam between scheduling and tensors.
#pragma once

#include "absl/status/statusor.h"
#include "engine/batch/model_input.h"

namespace keyhole {

// Implemented by ModelExecutor and by fakes in tests.
// Thread: executor thread only.
// Errors: a failed step leaves no row of it behind; INTERNAL fails every sequence of the step.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;
  virtual absl::StatusOr<StepResult> Run(const ModelInput& input) = 0;
};

}  // namespace keyhole
