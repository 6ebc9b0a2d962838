// Renders a model file's chat template: a bounded interpreter of the part of Jinja that such
// templates use.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/request/request.h"

namespace keyhole {

// No template can call into the host: it sees the messages, the special tokens' texts and nothing
// else; steps, depth and output size are bounded. White space is treated as transformers does
// (trim_blocks and lstrip_blocks). Thread: immutable after Parse, any thread.
class ChatTemplate {
 public:
  struct Variables {
    std::string bos_token = {};
    std::string eos_token = {};
    bool add_generation_prompt = true;
    // What strftime_now prints, in UTC. Unset: it is not defined, and templates fall back to a
    // fixed date, so that the same messages always give the same prompt.
    std::optional<absl::Time> now = {};
  };

  // Errors: INVALID_ARGUMENT names the construct that is not supported, with its line.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view source);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Errors: INVALID_ARGUMENT where the template itself raises one (roles out of order) or a bound
  // is hit.
  absl::StatusOr<std::string> Render(const ChatPrompt& messages, const Variables& variables) const;

 private:
  struct Program;
  explicit ChatTemplate(std::unique_ptr<const Program> program);
  std::unique_ptr<const Program> program_;
};

}  // namespace keyhole
