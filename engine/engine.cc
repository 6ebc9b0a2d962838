#include "engine/engine.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/attention/distances.h"
#include "engine/device/device.h"
#include "engine/engine_dependencies.h"
#include "engine/kv/host_store.h"
#include "engine/model/load_model.h"
#include "engine/model/model_tokenizer.h"
#include "engine/runtime/available_memory.h"
#include "engine/runtime/model_executor.h"
#include "engine/selection/policy_registry.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// The model with all that it computes in, in the order in which they must go.
class LoadedExecutor final : public StepExecutor {
 public:
  LoadedExecutor(int n_threads, std::unique_ptr<HostStore> store)
      : store_(std::move(store)), device_(n_threads) {}

  absl::Status Load(ModelParts parts, std::vector<TokenId> end_tokens) {
    parts.device = &device_;
    parts.store = store_.get();
    KEYHOLE_ASSIGN_OR_RETURN(std::unique_ptr<Model> model, LoadModel(std::move(parts)));
    executor_.emplace(std::move(model), &device_, std::move(end_tokens));
    return absl::OkStatus();
  }

  absl::StatusOr<StepResult> Run(const ModelInput& input) override { return executor_->Run(input); }

  HostStore& store() { return *store_; }

 private:
  std::unique_ptr<HostStore> store_;
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

void Warn(EngineObserver* observer, std::string_view text) {
  if (observer != nullptr) observer->OnWarning(text);
}

// As many pages as the memory holds, but no more than the running sequences can use.
absl::StatusOr<std::int32_t> CountPages(const EngineConfig& config,
                                        const KvLayout& layout,
                                        std::int32_t max_context,
                                        EngineObserver* observer) {
  std::int64_t bytes = config.kv.memory_bytes;
  if (bytes == 0) {
    KEYHOLE_ASSIGN_OR_RETURN(const std::int64_t available, AvailableMemory());
    bytes = available / 2;
  }
  const auto page_bytes = static_cast<std::int64_t>(layout.page_bytes());
  const std::int64_t usable =
      std::int64_t{PagesForTokens(max_context, layout.page_size)} * config.scheduler.max_running;
  const std::int64_t n_pages = std::min(bytes / page_bytes, usable);
  if (n_pages < 1) {
    return absl::ResourceExhaustedError(
        absl::StrCat("kv.memory_bytes of ", bytes, " holds no page of ", page_bytes, " bytes"));
  }
  if (n_pages * layout.page_size < max_context) {
    Warn(observer,
         absl::StrCat("KV memory holds ",
                      n_pages * layout.page_size,
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
  info.positions = limits.positions;
  info.max_context = limits.max_context;
  info.max_prompt = limits.max_context - 1;
  info.max_output = limits.max_output;
  info.default_max_output = limits.default_max_output;
  info.max_prompt_logprobs = config.scheduler.max_prompt_logprobs;
  return info;
}

absl::StatusOr<std::unique_ptr<StepExecutor>> LoadExecutor(const EngineConfig& config,
                                                           ModelParts model,
                                                           EngineDependencies& parts) {
  const KvLayout layout = LayoutOf(parts.model.config, config.kv);
  KEYHOLE_ASSIGN_OR_RETURN(parts.n_pages,
                           CountPages(config, layout, parts.model.max_context, parts.observer));
  parts.page_bytes = static_cast<std::int64_t>(layout.page_bytes());
  KEYHOLE_ASSIGN_OR_RETURN(auto store, HostStore::Create(layout, parts.n_pages));
  auto executor = std::make_unique<LoadedExecutor>(config.threads, std::move(store));
  model.weights = config.model.weights;
  model.max_context = parts.model.max_context;
  model.attention.positions = parts.model.positions;
  model.attention.sizes = {.initial = config.selection.initial,
                           .local = config.selection.local,
                           .selected = config.selection.selected};
  model.attention.distances = DefaultDistances(config.selection.local);
  model.attention.distances.chunk_size = config.scheduler.chunk_size;
  if (parts.model.positions == PositionMode::kRectified) {
    KEYHOLE_RETURN_IF_ERROR(CheckDistances(
        model.attention.distances, model.attention.sizes, parts.model.config.trained_length));
  }
  KEYHOLE_RETURN_IF_ERROR(executor->Load(std::move(model), parts.tokenizer->end_tokens()));
  parts.on_page_free = [store = &executor->store()](PageId page) { store->Discard(page); };
  return executor;
}

absl::StatusOr<std::unique_ptr<Engine>> Load(const EngineConfig& config, EngineObserver* observer) {
  KEYHOLE_RETURN_IF_ERROR(Validate(config));
  ModelParts model;
  KEYHOLE_ASSIGN_OR_RETURN(model.policy, MakeSelectionPolicy(config.selection.policy));
  KEYHOLE_ASSIGN_OR_RETURN(model.source,
                           OpenModel(config.model.path,
                                     {.rope_theta = config.model.rope_theta,
                                      .rope_scaling = config.model.rope_scaling}));
  const bool can_rectify = model.policy->traits().middle != MiddleRule::kEverything;
  KEYHOLE_ASSIGN_OR_RETURN(
      const ContextLimits limits,
      ResolveContext(config, model.source->config().trained_length, can_rectify));
  KEYHOLE_ASSIGN_OR_RETURN(TokenizerData tokenizer, ReadModelTokenizer(*model.source));

  EngineDependencies parts;
  parts.observer = observer;
  parts.model = Describe(config, *model.source, limits);
  parts.render_chat = MakeChatRenderer(ChatTemplateOf(tokenizer), observer);
  parts.model.has_chat_template = parts.render_chat != nullptr;
  KEYHOLE_ASSIGN_OR_RETURN(parts.tokenizer, MakeTokenizer(std::move(tokenizer)));
  KEYHOLE_ASSIGN_OR_RETURN(parts.executor, LoadExecutor(config, std::move(model), parts));
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
