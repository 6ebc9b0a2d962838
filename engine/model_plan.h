// Everything about a model that is settled before its weights are read.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/attention/attention_settings.h"
#include "engine/engine.h"
#include "engine/engine_config.h"
#include "engine/model/model_shard.h"
#include "engine/model/weight_source.h"
#include "engine/parallel/process_group.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/selection_policy.h"
#include "engine/telemetry/engine_observer.h"

namespace keyhole {

struct ModelPlan {
  std::shared_ptr<const WeightSource> source;
  ModelShard shard;                     // what this process holds of it
  std::unique_ptr<ProcessGroup> group;  // null with one rank
  PolicyTraits traits;
  ContextLimits limits;
  AttentionSettings attention;
  PolicyParts policy;
};

// With several ranks it waits for all of them, once what this one can see by itself is right.
// Calibrates where that is left to do. `observer` may be null. Errors: those of OpenModel,
// ShardModel, ProcessGroup::Connect and LoadDigestMaps; INVALID_ARGUMENT for settings that do not
// fit the model.
absl::StatusOr<ModelPlan> PlanModel(const EngineConfig& config, EngineObserver* observer);

ModelInfo Describe(const EngineConfig& config, const ModelPlan& plan);

}  // namespace keyhole
