// The model of an engine, loaded onto the accelerator.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/engine_config.h"
#include "engine/engine_dependencies.h"
#include "engine/model_plan.h"
#include "engine/parallel/process_group.h"
#include "engine/runtime/step_executor.h"

namespace keyhole {

// Reads `model`, `tokenizer` (null on ranks that do not sample), `cache_salt` and `observer` of
// `parts` and fills in its pages and what tells of them. `group` is null with one rank, and else
// outlives the executor. Errors: those of LoadAcceleratorModel and MakeNcclCollectives;
// INVALID_ARGUMENT where the ranks differ.
absl::StatusOr<std::unique_ptr<StepExecutor>> LoadAcceleratedExecutor(const EngineConfig& config,
                                                                      ModelPlan plan,
                                                                      ProcessGroup* group,
                                                                      EngineDependencies& parts);

}  // namespace keyhole
