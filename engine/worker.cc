#include "engine/worker.h"

#include <memory>
#include <utility>

#include "engine/engine_dependencies.h"
#include "engine/guarded_load.h"
#include "engine/loaded_executor.h"
#include "engine/model_plan.h"
#include "engine/runtime/parallel_worker.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

absl::Status Work(const EngineConfig& config, EngineObserver* observer) {
  KEYHOLE_RETURN_IF_ERROR(Validate(config));
  if (config.tensor_parallel.rank == 0) {
    return absl::InvalidArgumentError("rank 0 of a tensor-parallel model is an engine");
  }
  KEYHOLE_ASSIGN_OR_RETURN(ModelPlan plan, PlanModel(config, observer));
  const std::unique_ptr<ProcessGroup> group = std::move(plan.group);
  EngineDependencies parts;
  parts.observer = observer;
  parts.model = Describe(config, plan);
  KEYHOLE_ASSIGN_OR_RETURN(const std::unique_ptr<StepExecutor> executor,
                           LoadExecutor(config, std::move(plan), group.get(), parts));
  if (observer != nullptr) observer->OnNotice("tensor parallel: this rank is ready");
  return ServeSteps(*group, *executor);
}

}  // namespace

absl::Status RunWorker(const EngineConfig& config, EngineObserver* observer) {
  return GuardedLoad([&] { return Work(config, observer); });
}

}  // namespace keyhole
