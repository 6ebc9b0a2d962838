#include "engine/accelerated_executor.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/device/device.h"
#include "engine/device/gpu.h"
#include "engine/kv_memory.h"
#include "engine/model/accelerator_model.h"
#include "engine/model/host_logits_model.h"
#include "engine/parallel/nccl_collectives.h"
#include "engine/parallel/staged_collectives.h"
#include "engine/parallel_setup.h"
#include "engine/runtime/model_executor.h"
#include "engine/selection_setup.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

class AcceleratedExecutor final : public StepExecutor {
 public:
  // `ranks` is null with one rank.
  AcceleratedExecutor(int n_threads,
                      const ModelConfig& config,
                      std::unique_ptr<DeviceCollectives> ranks,
                      std::unique_ptr<AcceleratorModel> model,
                      const EngineDependencies& parts)
      : ranks_(std::move(ranks)),
        accelerator_(*model),
        observer_(parts.observer),
        host_(n_threads),
        executor_(
            std::make_unique<HostLogitsModel>(config, std::move(model)), &host_, EndTokens(parts)) {
  }

  absl::StatusOr<StepResult> Run(const ModelInput& input) override {
    absl::StatusOr<StepResult> result = executor_.Run(input);
    const std::string warning = accelerator_.TakeWarning();
    if (!warning.empty() && observer_ != nullptr) observer_->OnWarning(warning);
    return result;
  }
  absl::Status health() const override { return accelerator_.health(); }
  void Discard(PageId page) override { accelerator_.Discard(page); }
  AcceleratorPages pages() const { return accelerator_.pages(); }

 private:
  std::unique_ptr<DeviceCollectives> ranks_;
  AcceleratorModel& accelerator_;  // of executor_
  EngineObserver* observer_;       // may be null
  Device host_;                    // samples
  ModelExecutor executor_;
};

absl::StatusOr<std::int64_t> HostBytes(const EngineConfig& config) {
  if (config.device.residency == Residency::kDevice) return 0;
  return KvMemoryBytes(config);
}

absl::StatusOr<AcceleratorSettings> SettingsOf(const EngineConfig& config,
                                               const ModelPlan& plan,
                                               std::int64_t max_context) {
  AcceleratorSettings settings;
  settings.kv = config.kv.type;
  settings.page_size = config.kv.page_size;
  settings.max_context = max_context;
  settings.rope_positions = RopePositions(plan.attention, plan.policy, max_context);
  settings.max_running = config.scheduler.max_running;
  settings.max_logits = config.scheduler.max_running +
                        std::min(config.scheduler.chunk_size, config.scheduler.max_prompt_logprobs);
  KEYHOLE_ASSIGN_OR_RETURN(settings.host_bytes, HostBytes(config));
  settings.device_bytes = static_cast<std::size_t>(config.device.kv_memory_bytes);
  settings.residency = config.device.residency;
  settings.attention = plan.attention;
  settings.policy = plan.traits;
  settings.selection = plan.policy;
  return settings;
}

void TellOfPages(const AcceleratorPages& pages, EngineObserver* observer) {
  if (observer == nullptr) return;
  observer->OnNotice(absl::StrCat("the accelerator holds ",
                                  pages.n_device_pages,
                                  " of ",
                                  pages.n_pages,
                                  " KV pages of ",
                                  pages.page_bytes,
                                  " bytes"));
}

// Null with one rank.
absl::StatusOr<std::unique_ptr<DeviceCollectives>> JoinAccelerators(
    const TensorParallelSettings& settings,
    const PolicyParts& policy,
    ProcessGroup* group,
    const EngineDependencies& parts) {
  if (group == nullptr) return nullptr;
  KEYHOLE_ASSIGN_OR_RETURN(const GpuInfo gpu, OpenGpu(0));
  KEYHOLE_RETURN_IF_ERROR(Agree(*group, RankIdentity(parts, policy.maps.get(), gpu.name)));
  if (settings.backend == RankBackend::kGloo) return MakeStagedCollectives(group);
  return MakeNcclCollectives(group, {.start = settings.start_timeout, .step = settings.timeout});
}

}  // namespace

absl::StatusOr<std::unique_ptr<StepExecutor>> LoadAcceleratedExecutor(const EngineConfig& config,
                                                                      ModelPlan plan,
                                                                      ProcessGroup* group,
                                                                      EngineDependencies& parts) {
  KEYHOLE_ASSIGN_OR_RETURN(AcceleratorSettings settings,
                           SettingsOf(config, plan, parts.model.max_context));
  KEYHOLE_ASSIGN_OR_RETURN(auto ranks,
                           JoinAccelerators(config.tensor_parallel, plan.policy, group, parts));
  settings.ranks = ranks.get();
  KEYHOLE_ASSIGN_OR_RETURN(std::unique_ptr<AcceleratorModel> model,
                           LoadAcceleratorModel(*plan.source, settings));
  const AcceleratorPages pages = model->pages();
  TellOfPages(pages, parts.observer);
  WarnOfFewPages(pages.n_pages, config.kv.page_size, parts.model.max_context, parts.observer);
  parts.n_pages = pages.n_pages;
  parts.page_bytes = pages.page_bytes;
  auto executor = std::make_unique<AcceleratedExecutor>(
      config.threads, plan.source->config(), std::move(ranks), std::move(model), parts);
  parts.device_pages = [owner = executor.get()] {
    const AcceleratorPages now = owner->pages();
    DevicePagesSnapshot snapshot;
    snapshot.pages = now.n_device_pages;
    snapshot.pages_used = now.n_on_device;
    snapshot.host_pages = now.n_host_pages;
    snapshot.page_rows = now.selected.n_in_pages;
    snapshot.fetched_rows = now.selected.n_fetched;
    snapshot.hot_rows = now.selected.n_rows - snapshot.page_rows - snapshot.fetched_rows;
    snapshot.fetched_bytes = now.selected.n_fetched * now.row_bytes + now.n_loaded * now.page_bytes;
    snapshot.spilled_pages = now.n_spilled;
    return snapshot;
  };
  return executor;
}

}  // namespace keyhole
