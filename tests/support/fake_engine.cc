#include "tests/support/fake_engine.h"

#include <string>
#include <utility>

#include "engine/status_macros.h"
#include "tests/support/byte_tokenizer.h"

namespace keyhole::testing {
namespace {

absl::StatusOr<std::string> RenderChat(const ChatPrompt& messages) {
  std::string text;
  for (const ChatMessage& message : messages) {
    text += "<|turn|>" + message.role + "\n" + message.content + "\n";
  }
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeFakeEngine(FakeEngineOptions options) {
  EngineDependencies parts;
  parts.tokenizer = std::make_unique<ByteTokenizer>();
  parts.model.name = "fake";
  parts.model.revision = std::string(64, 'f');
  parts.model.config.architecture = "fake";
  parts.model.config.vocab_size = ByteTokenizer::kVocabSize;
  parts.model.config.n_layers = 1;
  parts.model.config.trained_length = options.max_context;
  KEYHOLE_ASSIGN_OR_RETURN(
      const ContextLimits limits,
      ResolveContext(options.config, options.max_context, /*can_rectify=*/false));
  parts.model.max_context = limits.max_context;
  parts.model.max_prompt = limits.max_context - 1;
  parts.model.max_output = limits.max_output;
  parts.model.default_max_output = limits.default_max_output;
  parts.model.max_prompt_logprobs = options.config.scheduler.max_prompt_logprobs;
  parts.model.has_chat_template = options.chat;
  if (options.chat) parts.render_chat = RenderChat;

  FakeModelOptions model = std::move(options.model);
  model.page_size = options.config.kv.page_size;
  model.chunking.chunk_size = options.config.scheduler.chunk_size;
  parts.executor = std::make_unique<FakeExecutor>(std::move(model));
  parts.n_pages = options.n_pages;
  parts.page_bytes = 4096;
  parts.device_pages = std::move(options.device_pages);
  parts.observer = options.observer;
  parts.clock = std::move(options.clock);
  return MakeEngine(options.config, std::move(parts));
}

}  // namespace keyhole::testing
