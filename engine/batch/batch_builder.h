// Packs a step plan into what the model reads.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/batch/model_input.h"
#include "engine/scheduler/step_plan.h"

namespace keyhole {

// Decode rows first, in the order of the plan, then the prefill chunk. Spans of the result point
// into the sequences, which must not change until the step's result is taken. `ended` are sequences
// that the executor may forget. Errors: INTERNAL if a sequence has no page for a token of the step.
absl::StatusOr<ModelInput> BuildModelInput(const StepPlan& plan,
                                           std::int32_t page_size,
                                           std::vector<RequestId> ended);

}  // namespace keyhole
