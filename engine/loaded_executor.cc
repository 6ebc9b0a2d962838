#include "engine/loaded_executor.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/accelerated_executor.h"
#include "engine/device/cpu_features.h"
#include "engine/device/device.h"
#include "engine/device/trace.h"
#include "engine/kv/digest_store.h"
#include "engine/kv/host_store.h"
#include "engine/kv/window_cache.h"
#include "engine/kv_memory.h"
#include "engine/model/kv_layout_of.h"
#include "engine/model/load_model.h"
#include "engine/page_identity.h"
#include "engine/parallel_setup.h"
#include "engine/runtime/model_executor.h"
#include "engine/selection/policy_registry.h"
#include "engine/selection_setup.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// The model with all that it computes in, in the order in which they must go.
class LoadedExecutor final : public StepExecutor {
 public:
  // `digests` is null where the policy keeps none, `trace` where none is written. `observer` may be
  // null; it hears of a trace that cannot go on.
  LoadedExecutor(int n_threads,
                 std::unique_ptr<HostStore> store,
                 std::unique_ptr<DigestStore> digests,
                 std::unique_ptr<Trace> trace,
                 EngineObserver* observer)
      : store_(std::move(store)),
        digests_(std::move(digests)),
        trace_(std::move(trace)),
        observer_(observer),
        device_(n_threads) {
    device_.set_trace(trace_.get());
  }

  absl::Status Load(ModelParts parts, std::vector<TokenId> end_tokens) {
    parts.device = &device_;
    parts.store = store_.get();
    KEYHOLE_ASSIGN_OR_RETURN(std::unique_ptr<Model> model, LoadModel(std::move(parts)));
    executor_.emplace(std::move(model), &device_, std::move(end_tokens));
    return absl::OkStatus();
  }

  absl::StatusOr<StepResult> Run(const ModelInput& input) override {
    absl::StatusOr<StepResult> result = executor_->Run(input);
    if (trace_ != nullptr) {
      const absl::Status written = trace_->EndStep();
      if (!written.ok() && observer_ != nullptr) {
        observer_->OnWarning(std::string(written.message()));
      }
    }
    return result;
  }

  void Discard(PageId page) override {
    store_->Discard(page);
    if (digests_ != nullptr) digests_->Discard(page);
  }

 private:
  std::unique_ptr<HostStore> store_;
  std::unique_ptr<DigestStore> digests_;
  std::unique_ptr<Trace> trace_;
  EngineObserver* observer_;
  Device device_;
  std::optional<ModelExecutor> executor_;
};

// Null where none is asked for. Ranks on one machine do not write into one file.
absl::StatusOr<std::unique_ptr<Trace>> MakeTrace(const EngineConfig& config) {
  if (config.trace.path.empty()) return nullptr;
  const std::int32_t rank = config.tensor_parallel.rank;
  return Trace::Create(rank == 0 ? config.trace.path : absl::StrCat(config.trace.path, ".", rank),
                       config.trace.steps);
}

// As many pages as the memory holds, but no more than the running sequences can use. Reads the
// model's limits and page_bytes of `parts`.
absl::StatusOr<std::int32_t> CountPages(const EngineConfig& config,
                                        std::int64_t window_bytes,
                                        const EngineDependencies& parts) {
  const std::int32_t page_size = config.kv.page_size;
  const std::int32_t max_context = parts.model.max_context;
  const std::int64_t page_bytes = parts.page_bytes;
  const std::int64_t max_running = config.scheduler.max_running;
  const std::int64_t longest = PagesForTokens(max_context, page_size);
  KEYHOLE_ASSIGN_OR_RETURN(std::int64_t bytes, KvMemoryBytes(config));
  if (config.kv.memory_bytes == 0) {
    bytes = BytesBesideWindows(bytes, max_running * window_bytes, longest * page_bytes);
  }
  const std::int64_t n_pages = std::min(bytes / page_bytes, longest * max_running);
  if (n_pages < 1) {
    return absl::ResourceExhaustedError(
        absl::StrCat("kv-memory of ", bytes, " holds no page of ", page_bytes, " bytes"));
  }
  WarnOfFewPages(n_pages, page_size, max_context, parts.observer);
  return static_cast<std::int32_t>(n_pages);
}

// On settings and on pages that every rank has room for.
absl::Status AgreeOnAll(ProcessGroup& group, PolicyParts& policy, EngineDependencies& parts) {
  const std::string_view processor = CpuLevelName(DetectCpuLevel());
  KEYHOLE_RETURN_IF_ERROR(Agree(group, RankIdentity(parts, policy.maps.get(), processor)));
  KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t n_pages, group.Smallest(parts.n_pages));
  parts.n_pages = static_cast<std::int32_t>(n_pages);
  policy.recall_interval = 0;  // no rank has all keys, which its exact scores need
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StepExecutor>> LoadOnCpu(const EngineConfig& config,
                                                        ModelPlan plan,
                                                        ProcessGroup* group,
                                                        EngineDependencies& parts) {
  const ModelConfig& model_config = plan.source->config();
  const KvLayout layout = KvLayoutOf(plan.shard.config, config.kv.page_size, config.kv.type);
  parts.page_bytes = static_cast<std::int64_t>(layout.page_bytes());
  DigestLayout digest_layout;
  if (plan.policy.maps != nullptr) {
    digest_layout = DigestLayoutOf(
        *plan.policy.maps, plan.traits, config.kv.page_size, config.selection.coarse_dims);
    parts.page_bytes += static_cast<std::int64_t>(digest_layout.total_page_bytes());
  }
  KEYHOLE_ASSIGN_OR_RETURN(
      parts.n_pages,
      CountPages(config,
                 static_cast<std::int64_t>(WindowBytes(layout, plan.attention.window_rows())),
                 parts));
  if (group != nullptr) KEYHOLE_RETURN_IF_ERROR(AgreeOnAll(*group, plan.policy, parts));
  KEYHOLE_ASSIGN_OR_RETURN(auto store, HostStore::Create(layout, parts.n_pages));
  std::unique_ptr<DigestStore> digests;
  if (plan.policy.maps != nullptr) {
    KEYHOLE_ASSIGN_OR_RETURN(digests, DigestStore::Create(digest_layout, parts.n_pages));
  }
  ModelParts model;
  model.rope = std::make_unique<const RopeTable>(
      model_config, RopePositions(plan.attention, plan.policy, parts.model.max_context));
  plan.policy.store = store.get();
  plan.policy.digests = digests.get();
  plan.policy.rope = model.rope->rows();
  KEYHOLE_ASSIGN_OR_RETURN(model.policy, MakeSelectionPolicy(config.selection.policy, plan.policy));
  model.source = std::move(plan.source);
  model.weights = config.model.weights;
  model.attention = plan.attention;
  model.group = group;
  KEYHOLE_ASSIGN_OR_RETURN(auto trace, MakeTrace(config));
  auto executor = std::make_unique<LoadedExecutor>(
      config.threads, std::move(store), std::move(digests), std::move(trace), parts.observer);
  KEYHOLE_RETURN_IF_ERROR(executor->Load(std::move(model), EndTokens(parts)));
  return executor;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StepExecutor>> LoadExecutor(const EngineConfig& config,
                                                           ModelPlan plan,
                                                           ProcessGroup* group,
                                                           EngineDependencies& parts) {
  parts.chunking = ChunkingOf(config.selection, plan.traits, plan.attention);
  parts.prefix_rules = PrefixRulesOf(plan.attention, parts.chunking);
  parts.cache_salt = PageIdentity(config, parts.model, plan.attention, plan.policy);
  const bool cuda = config.device.compute == ComputeDevice::kCuda;
  const auto load = cuda ? LoadAcceleratedExecutor : LoadOnCpu;
  KEYHOLE_ASSIGN_OR_RETURN(auto executor, load(config, std::move(plan), group, parts));
  if (group != nullptr) {
    // Rank 0 opens when all are ready.
    KEYHOLE_RETURN_IF_ERROR(group->Exchange(0).status());
    group->EndStart();
  }
  return executor;
}

}  // namespace keyhole
