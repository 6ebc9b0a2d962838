#include "engine/engine.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <new>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/accelerated_executor.h"
#include "engine/device/device.h"
#include "engine/device/trace.h"
#include "engine/digest_setup.h"
#include "engine/engine_dependencies.h"
#include "engine/kv/digest_store.h"
#include "engine/kv/host_store.h"
#include "engine/model/accelerator_model.h"
#include "engine/model/load_model.h"
#include "engine/model/model_tokenizer.h"
#include "engine/page_identity.h"
#include "engine/runtime/available_memory.h"
#include "engine/runtime/model_executor.h"
#include "engine/selection/policy_registry.h"
#include "engine/selection_setup.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

void Warn(EngineObserver* observer, std::string_view text) {
  if (observer != nullptr) observer->OnWarning(text);
}

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
      if (!written.ok()) Warn(observer_, std::string(written.message()));
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

KvLayout LayoutOf(const ModelConfig& config, const KvSettings& kv) {
  return {.n_layers = static_cast<std::int32_t>(config.n_layers),
          .n_kv_heads = static_cast<std::int32_t>(config.n_kv_heads),
          .head_dim = static_cast<std::int32_t>(config.head_dim),
          .page_size = kv.page_size,
          .type = kv.type};
}

// As many pages as the memory holds, but no more than the running sequences can use.
absl::StatusOr<std::int32_t> CountPages(const EngineConfig& config,
                                        std::int64_t page_bytes,
                                        std::int32_t max_context,
                                        EngineObserver* observer) {
  const std::int32_t page_size = config.kv.page_size;
  std::int64_t bytes = config.kv.memory_bytes;
  if (bytes == 0) {
    KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t available, AvailableMemory());
    bytes = available / 2;
  }
  const std::int64_t usable =
      std::int64_t{PagesForTokens(max_context, page_size)} * config.scheduler.max_running;
  const std::int64_t n_pages = std::min(bytes / page_bytes, usable);
  if (n_pages < 1) {
    return absl::ResourceExhaustedError(
        absl::StrCat("kv.memory_bytes of ", bytes, " holds no page of ", page_bytes, " bytes"));
  }
  if (n_pages * page_size < max_context) {
    Warn(observer,
         absl::StrCat("KV memory holds ",
                      n_pages * page_size,
                      " tokens, less than one request of the full context of ",
                      max_context));
  }
  return static_cast<std::int32_t>(n_pages);
}

// Empty, with a warning, for a template that is not supported: all but chat works without it.
ChatRenderer MakeChatRenderer(const ChatTemplateSource& source, EngineObserver* observer) {
  if (source.source.empty()) return nullptr;
  auto parsed = ChatTemplate::Parse(source.source);
  if (!parsed.ok()) {
    Warn(observer,
         absl::StrCat("chat is off, the model's chat template is not supported: ",
                      std::string(parsed.status().message())));
    return nullptr;
  }
  ChatTemplate::Variables variables;
  variables.bos_token = source.bos_token;
  variables.eos_token = source.eos_token;
  return [chat = std::make_shared<const ChatTemplate>(*std::move(parsed)),
          variables](const ChatPrompt& messages) { return chat->Render(messages, variables); };
}

std::string NameOf(const ModelSettings& settings, const ModelConfig& config) {
  if (!settings.name.empty()) return settings.name;
  return config.name.empty() ? std::filesystem::path(settings.path).stem().string() : config.name;
}

ModelInfo Describe(const EngineConfig& config,
                   const WeightSource& source,
                   const ContextLimits& limits) {
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
  return info;
}

// Everything about the model that is settled before its weights are read.
struct ModelPlan {
  std::shared_ptr<const WeightSource> source;
  PolicyTraits traits;
  ContextLimits limits;
  AttentionSettings attention;
  PolicyParts policy;
};

absl::StatusOr<ModelPlan> PlanModel(const EngineConfig& config, EngineObserver* observer) {
  ModelPlan plan;
  KEYHOLE_ASSIGN_OR_RETURN(plan.traits, FindSelectionPolicy(config.selection.policy));
  if (config.device.compute == ComputeDevice::kCuda) {
    KEYHOLE_RETURN_IF_ERROR(CheckAccelerator(plan.traits));
  }
  KEYHOLE_ASSIGN_OR_RETURN(plan.source,
                           OpenModel(config.model.path,
                                     {.rope_theta = config.model.rope_theta,
                                      .rope_scaling = config.model.rope_scaling}));
  const ModelConfig& model = plan.source->config();
  const bool can_rectify = plan.traits.middle != MiddleRule::kEverything;
  KEYHOLE_ASSIGN_OR_RETURN(plan.limits, ResolveContext(config, model.trained_length, can_rectify));
  KEYHOLE_ASSIGN_OR_RETURN(plan.attention,
                           ResolveAttention(config, plan.traits, model, plan.limits.positions));
  plan.policy = ResolvePolicyParts(config.selection, plan.traits, model, plan.limits.positions);
  KEYHOLE_ASSIGN_OR_RETURN(plan.policy.maps,
                           LoadDigestMaps(config, plan.traits, plan.source, observer));
  if (plan.policy.maps != nullptr) plan.policy.query_distance = plan.policy.maps->query_distance;
  return plan;
}

absl::StatusOr<std::unique_ptr<StepExecutor>> LoadExecutor(const EngineConfig& config,
                                                           ModelPlan plan,
                                                           EngineDependencies& parts) {
  parts.chunking = ChunkingOf(config.selection, plan.traits, plan.attention);
  parts.prefix_rules = PrefixRulesOf(plan.attention, parts.chunking);
  parts.cache_salt = PageIdentity(config, parts.model, plan.attention, plan.policy);
  if (config.device.compute == ComputeDevice::kCuda) {
    return LoadAcceleratedExecutor(
        config, {plan.source, plan.traits, plan.attention, plan.policy}, parts);
  }
  const ModelConfig& model_config = plan.source->config();
  const KvLayout layout = LayoutOf(model_config, config.kv);
  parts.page_bytes = static_cast<std::int64_t>(layout.page_bytes());
  DigestLayout digest_layout;
  if (plan.policy.maps != nullptr) {
    digest_layout = DigestLayoutOf(
        *plan.policy.maps, plan.traits, config.kv.page_size, config.selection.coarse_dims);
    parts.page_bytes += static_cast<std::int64_t>(digest_layout.total_page_bytes());
  }
  KEYHOLE_ASSIGN_OR_RETURN(
      parts.n_pages, CountPages(config, parts.page_bytes, parts.model.max_context, parts.observer));
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
  std::unique_ptr<Trace> trace;
  if (!config.trace.path.empty()) {
    KEYHOLE_ASSIGN_OR_RETURN(trace, Trace::Create(config.trace.path, config.trace.steps));
  }
  auto executor = std::make_unique<LoadedExecutor>(
      config.threads, std::move(store), std::move(digests), std::move(trace), parts.observer);
  KEYHOLE_RETURN_IF_ERROR(executor->Load(std::move(model), parts.tokenizer->end_tokens()));
  return executor;
}

absl::StatusOr<std::unique_ptr<Engine>> Load(const EngineConfig& config, EngineObserver* observer) {
  KEYHOLE_RETURN_IF_ERROR(Validate(config));
  KEYHOLE_ASSIGN_OR_RETURN(ModelPlan plan, PlanModel(config, observer));
  KEYHOLE_ASSIGN_OR_RETURN(TokenizerData tokenizer, ReadModelTokenizer(*plan.source));

  EngineDependencies parts;
  parts.observer = observer;
  parts.model = Describe(config, *plan.source, plan.limits);
  parts.model.selection = plan.attention.sizes;
  parts.render_chat = MakeChatRenderer(ChatTemplateOf(tokenizer), observer);
  parts.model.has_chat_template = parts.render_chat != nullptr;
  KEYHOLE_ASSIGN_OR_RETURN(parts.tokenizer, MakeTokenizer(std::move(tokenizer)));
  KEYHOLE_ASSIGN_OR_RETURN(parts.executor, LoadExecutor(config, std::move(plan), parts));
  parts.on_page_free = [owner = parts.executor.get()](PageId page) { owner->Discard(page); };
  return MakeEngine(config, std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineConfig& config,
                                                       EngineObserver* observer) {
  try {
    return Load(config, observer);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("there is not enough memory for the model");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("loading the model failed: ", error.what()));
  }
}

}  // namespace keyhole
