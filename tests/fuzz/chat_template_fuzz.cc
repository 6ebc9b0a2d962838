// Any template over a conversation: refused, or rendered within its bounds.
#include <cstdint>
#include <string_view>

#include "engine/tokenizer/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(bytes), size);
  const auto parsed = keyhole::ChatTemplate::Parse(source);
  if (!parsed.ok()) return 0;
  const keyhole::ChatPrompt messages = {{"system", "s"},
                                        {"user", " Hello, w\u00f6rld! \n"},
                                        {"assistant", "<think>\nx</think>y"},
                                        {"user", ""}};
  parsed->Render(messages, {.bos_token = "<s>", .eos_token = "</s>"}).status().IgnoreError();
  return 0;
}
