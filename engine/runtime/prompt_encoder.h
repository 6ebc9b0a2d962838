// A request's prompt to token ids.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request/request.h"
#include "engine/tokenizer/tokenizer.h"

namespace keyhole {

// Renders messages with the model's chat template.
using ChatRenderer = std::function<absl::StatusOr<std::string>(const ChatPrompt&)>;

// Special tokens are recognised in a text prompt and in what a chat template adds; in the content
// of a message they are ordinary text, so that a message cannot end itself and begin another.
// Thread: immutable, any thread. Takes time linear in the prompt: call it on a text worker.
class PromptEncoder {
 public:
  // `render_chat` may be empty: the model has no template. REQUIRES: `tokenizer` outlives this.
  PromptEncoder(const Tokenizer* tokenizer, ChatRenderer render_chat);

  // Errors: INVALID_ARGUMENT with INVALID_PARAMETER; INTERNAL without a detail.
  absl::StatusOr<std::vector<TokenId>> Encode(const Prompt& prompt) const;

 private:
  absl::StatusOr<std::vector<TokenId>> EncodeChat(const ChatPrompt& messages) const;
  bool HasSpecialText(const std::string& text) const;
  std::string Disarm(std::string text, const std::string& mark) const;

  const Tokenizer* tokenizer_;
  ChatRenderer render_chat_;
  std::vector<std::string> special_texts_;  // "<|im_end|>", ...
};

}  // namespace keyhole
