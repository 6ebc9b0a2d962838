// Runs steps of a model: the seam between scheduling and tensors.
#pragma once

#include "absl/status/statusor.h"
#include "engine/batch/model_input.h"

namespace keyhole {

// Implemented by ModelExecutor and by fakes in tests.
// Thread: executor thread only, where no other is named.
// Errors: a failed step leaves no row of it behind; INTERNAL fails every sequence of the step.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;
  virtual absl::StatusOr<StepResult> Run(const ModelInput& input) = 0;

  // Not OK: no step can succeed any more, and why. Thread: any.
  virtual absl::Status health() const { return absl::OkStatus(); }

  // No step comes after this. Thread: any.
  virtual void Close() {}

  // No sequence refers to the page: its memory may go. Thread: engine.
  virtual void Discard(PageId /*page*/) {}
};

}  // namespace keyhole
