#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/engine_dependencies.h"
#include "engine/guarded_load.h"
#include "engine/loaded_executor.h"
#include "engine/model/model_tokenizer.h"
#include "engine/model_plan.h"
#include "engine/runtime/parallel_executor.h"
#include "engine/selection/policy_registry.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// Several messages within the time that a rank waits for one.
absl::Duration BeatOf(const TensorParallelSettings& settings) {
  return std::min(settings.timeout / 4, absl::Seconds(5));
}

// Empty, with a warning, for a template that is not supported: all but chat works without it.
ChatRenderer MakeChatRenderer(const ChatTemplateSource& source, EngineObserver* observer) {
  if (source.source.empty()) return nullptr;
  auto parsed = ChatTemplate::Parse(source.source);
  if (!parsed.ok()) {
    if (observer != nullptr) {
      observer->OnWarning(absl::StrCat("chat is off, the model's chat template is not supported: ",
                                       std::string(parsed.status().message())));
    }
    return nullptr;
  }
  ChatTemplate::Variables variables;
  variables.bos_token = source.bos_token;
  variables.eos_token = source.eos_token;
  return [chat = std::make_shared<const ChatTemplate>(*std::move(parsed)),
          variables](const ChatPrompt& messages) { return chat->Render(messages, variables); };
}

absl::StatusOr<std::unique_ptr<Engine>> Load(const EngineConfig& config, EngineObserver* observer) {
  KEYHOLE_RETURN_IF_ERROR(Validate(config));
  if (config.tensor_parallel.rank > 0) {
    return absl::InvalidArgumentError("only rank 0 of a tensor-parallel model is an engine");
  }
  KEYHOLE_ASSIGN_OR_RETURN(ModelPlan plan, PlanModel(config, observer));
  std::unique_ptr<ProcessGroup> group = std::move(plan.group);
  KEYHOLE_ASSIGN_OR_RETURN(TokenizerData tokenizer, ReadModelTokenizer(*plan.source));

  EngineDependencies parts;
  parts.observer = observer;
  parts.model = Describe(config, plan);
  parts.render_chat = MakeChatRenderer(ChatTemplateOf(tokenizer), observer);
  parts.model.has_chat_template = parts.render_chat != nullptr;
  KEYHOLE_ASSIGN_OR_RETURN(parts.tokenizer, MakeTokenizer(std::move(tokenizer)));
  KEYHOLE_ASSIGN_OR_RETURN(parts.executor,
                           LoadExecutor(config, std::move(plan), group.get(), parts));
  if (group != nullptr) {
    parts.executor = std::make_unique<ParallelExecutor>(
        std::move(group), std::move(parts.executor), BeatOf(config.tensor_parallel));
  }
  parts.on_page_free = [owner = parts.executor.get()](PageId page) { owner->Discard(page); };
  return MakeEngine(config, std::move(parts));
}

}  // namespace

std::vector<std::string> Engine::PolicyNames() {
  const std::vector<std::string_view> names = SelectionPolicyNames();
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineConfig& config,
                                                       EngineObserver* observer) {
  return GuardedLoad([&] { return Load(config, observer); });
}

}  // namespace keyhole
