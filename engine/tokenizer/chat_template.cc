#include "engine/tokenizer/chat_template.h"

#include <utility>

#include "engine/status_macros.h"
#include "engine/tokenizer/jinja_evaluator.h"
#include "engine/tokenizer/jinja_parser.h"

namespace keyhole {
namespace {

// Bounds of a rendering: a fixed part, and one for each byte of the messages.
constexpr std::int64_t kSteps = 2'000'000;
constexpr std::int64_t kStepsPerMessage = 2'000;
constexpr std::size_t kHeapBytes = std::size_t{16} << 20;
constexpr std::size_t kHeapBytesPerMessage = std::size_t{16} << 10;
constexpr std::size_t kHeapBytesPerByte = 32;
constexpr std::size_t kOutputBytes = std::size_t{1} << 20;
constexpr std::size_t kOutputBytesPerMessage = std::size_t{4} << 10;
constexpr std::size_t kOutputBytesPerByte = 4;

std::size_t SizeOf(const ChatPrompt& messages) {
  std::size_t bytes = 0;
  for (const ChatMessage& message : messages) bytes += message.role.size() + message.content.size();
  return bytes;
}

jinja::Value MessageList(const ChatPrompt& messages, jinja::Heap* heap) {
  jinja::List list;
  list.reserve(messages.size());
  for (const ChatMessage& message : messages) {
    list.push_back(heap->NewDict(
        {{"role", jinja::Value{&message.role}}, {"content", jinja::Value{&message.content}}}));
  }
  return heap->NewList(std::move(list));
}

}  // namespace

struct ChatTemplate::Program {
  jinja::NodePtr root;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Program> program) : program_(std::move(program)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source) {
  KEYHOLE_ASSIGN_OR_RETURN(jinja::NodePtr root, jinja::ParseTemplate(source));
  return ChatTemplate(std::make_unique<const Program>(Program{std::move(root)}));
}

absl::StatusOr<std::string> ChatTemplate::Render(const ChatPrompt& messages,
                                                 const Variables& variables) const {
  const std::size_t bytes = SizeOf(messages);
  jinja::Heap heap(kHeapBytes + messages.size() * kHeapBytesPerMessage + bytes * kHeapBytesPerByte);
  const jinja::Limits limits = {
      .max_steps = kSteps + static_cast<std::int64_t>(messages.size()) * kStepsPerMessage,
      .max_output =
          kOutputBytes + messages.size() * kOutputBytesPerMessage + bytes * kOutputBytesPerByte};
  jinja::Evaluator evaluator(&heap, limits, variables.now);
  evaluator.Define("messages", MessageList(messages, &heap));
  evaluator.Define("bos_token", heap.String(variables.bos_token));
  evaluator.Define("eos_token", heap.String(variables.eos_token));
  evaluator.Define("add_generation_prompt", jinja::Value{variables.add_generation_prompt});
  evaluator.Define("tools", jinja::Value{jinja::None{}});
  evaluator.Define("documents", jinja::Value{jinja::None{}});
  return evaluator.Run(*program_->root);
}

}  // namespace keyhole
