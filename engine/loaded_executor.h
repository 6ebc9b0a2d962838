// The model of a plan, loaded and ready to run steps.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/engine_config.h"
#include "engine/engine_dependencies.h"
#include "engine/model_plan.h"
#include "engine/parallel/process_group.h"
#include "engine/runtime/step_executor.h"

namespace keyhole {

// Reads `model`, `tokenizer` (null on ranks that do not sample) and `observer` of `parts` and fills
// in what depends on the model's memory: pages, identity and chunking. With several ranks it
// returns when all are ready. `group` is null with one rank, and else outlives the executor.
// Errors: those of LoadModel and of the stores; INVALID_ARGUMENT where the ranks differ;
// RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<StepExecutor>> LoadExecutor(const EngineConfig& config,
                                                           ModelPlan plan,
                                                           ProcessGroup* group,
                                                           EngineDependencies& parts);

}  // namespace keyhole
