#include "engine/model_plan.h"

#include <filesystem>
#include <string>

#include "engine/digest_setup.h"
#include "engine/model/accelerator_model.h"
#include "engine/parallel_setup.h"
#include "engine/selection/policy_registry.h"
#include "engine/selection_setup.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

std::string NameOf(const ModelSettings& settings, const ModelConfig& config) {
  if (!settings.name.empty()) return settings.name;
  return config.name.empty() ? std::filesystem::path(settings.path).stem().string() : config.name;
}

}  // namespace

ModelInfo Describe(const EngineConfig& config, const ModelPlan& plan) {
  const WeightSource& source = *plan.source;
  const ContextLimits& limits = plan.limits;
  ModelInfo info;
  info.name = NameOf(config.model, source.config());
  info.revision = source.content_hash();
  info.config = source.config();
  info.policy = config.selection.policy;
  info.positions = limits.positions;
  info.max_context = limits.max_context;
  info.max_prompt = limits.max_context - 1;
  info.max_output = limits.max_output;
  info.default_max_output = limits.default_max_output;
  info.max_prompt_logprobs = config.scheduler.max_prompt_logprobs;
  info.selection = plan.attention.sizes;
  info.max_selected = plan.attention.max_selected;
  return info;
}

absl::StatusOr<ModelPlan> PlanModel(const EngineConfig& config, EngineObserver* observer) {
  const TensorParallelSettings& ranks = config.tensor_parallel;
  ModelPlan plan;
  KEYHOLE_ASSIGN_OR_RETURN(plan.traits, FindSelectionPolicy(config.selection.policy));
  if (config.device.compute == ComputeDevice::kCuda) {
    KEYHOLE_RETURN_IF_ERROR(CheckAccelerator(plan.traits));
  }
  if (ranks.size > 1) KEYHOLE_RETURN_IF_ERROR(CheckPolicy(plan.traits));
  KEYHOLE_ASSIGN_OR_RETURN(plan.source,
                           OpenModel(config.model.path,
                                     {.rope_theta = config.model.rope_theta,
                                      .rope_scaling = config.model.rope_scaling}));
  const ModelConfig& model = plan.source->config();
  KEYHOLE_ASSIGN_OR_RETURN(plan.shard, ShardModel(model, {ranks.rank, ranks.size}));
  const bool can_rectify = plan.traits.middle != MiddleRule::kEverything;
  KEYHOLE_ASSIGN_OR_RETURN(plan.limits, ResolveContext(config, model.trained_length, can_rectify));
  KEYHOLE_ASSIGN_OR_RETURN(plan.attention,
                           ResolveAttention(config, plan.traits, model, plan.limits.positions));
  plan.policy = ResolvePolicyParts(config.selection, plan.traits, model, plan.limits.positions);
  KEYHOLE_ASSIGN_OR_RETURN(plan.group, JoinRanks(ranks));
  KEYHOLE_RETURN_IF_ERROR(LetRootGoFirst(plan.group.get(), true));
  KEYHOLE_ASSIGN_OR_RETURN(plan.policy.maps,
                           LoadDigestMaps(config, plan.traits, plan.source, observer));
  KEYHOLE_RETURN_IF_ERROR(LetRootGoFirst(plan.group.get(), false));
  if (plan.policy.maps != nullptr) plan.policy.query_distance = plan.policy.maps->query_distance;
  return plan;
}

}  // namespace keyhole
