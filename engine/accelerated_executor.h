// The model of an engine, loaded onto the accelerator.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/attention/attention_settings.h"
#include "engine/engine_config.h"
#include "engine/engine_dependencies.h"
#include "engine/model/weight_source.h"
#include "engine/runtime/step_executor.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// What is settled before weights are read.
struct AcceleratedPlan {
  std::shared_ptr<const WeightSource> source;
  PolicyTraits traits;
  AttentionSettings attention;
  PolicyParts policy;
};

// Reads `model`, `tokenizer` and `observer` of `parts` and fills in its pages and what tells of
// them. Errors: those of LoadAcceleratorModel.
absl::StatusOr<std::unique_ptr<StepExecutor>> LoadAcceleratedExecutor(const EngineConfig& config,
                                                                      AcceleratedPlan plan,
                                                                      EngineDependencies& parts);

}  // namespace keyhole
