// What ranks other than 0 of a tensor-parallel model do all their life.
#pragma once

#include "absl/status/status.h"
#include "engine/parallel/process_group.h"
#include "engine/runtime/step_executor.h"

namespace keyhole {

// Runs the steps that rank 0 sends until it goes away. Ends at the first failure: whoever calls
// then destroys the group, so that no other rank waits for this one. REQUIRES: the group has
// another rank than 0. Thread: the caller's, which is then the executor. Errors: UNAVAILABLE where
// a rank has gone; INTERNAL where a step failed here or ranks selected other rows.
absl::Status ServeSteps(ProcessGroup& group, StepExecutor& executor);

}  // namespace keyhole
