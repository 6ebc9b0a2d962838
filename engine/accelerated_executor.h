// The model of an engine, loaded onto the accelerator.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/engine_config.h"
#include "engine/engine_dependencies.h"
#include "engine/model_plan.h"
#include "engine/runtime/step_executor.h"

namespace keyhole {

// Reads `model`, `tokenizer` and `observer` of `parts` and fills in its pages and what tells of
// them. Errors: those of LoadAcceleratorModel.
absl::StatusOr<std::unique_ptr<StepExecutor>> LoadAcceleratedExecutor(const EngineConfig& config,
                                                                      ModelPlan plan,
                                                                      EngineDependencies& parts);

}  // namespace keyhole
