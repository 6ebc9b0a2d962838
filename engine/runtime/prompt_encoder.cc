#include "engine/runtime/prompt_encoder.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "engine/request/error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::string_view kField = "prompt";

// What the tokenizer or the template found wrong with a prompt, in the API's form.
absl::Status PromptError(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  return InvalidParameterError(kField, std::string(status.message()));
}

// A Unicode noncharacter (U+FDD0 to U+FDEF) that occurs in no message; empty if all do.
std::string UnusedMark(const ChatPrompt& messages) {
  for (char last = '\x90'; last <= '\xAF'; ++last) {
    std::string mark = {'\xEF', '\xB7', last};
    const bool used = std::any_of(messages.begin(), messages.end(), [&](const ChatMessage& m) {
      return m.content.find(mark) != std::string::npos || m.role.find(mark) != std::string::npos;
    });
    if (!used) return mark;
  }
  return "";
}

}  // namespace

PromptEncoder::PromptEncoder(const Tokenizer* tokenizer, ChatRenderer render_chat)
    : tokenizer_(tokenizer), render_chat_(std::move(render_chat)) {
  for (TokenId token = 0; token < tokenizer->vocab_size(); ++token) {
    if (!tokenizer->is_special(token)) continue;
    std::string text(tokenizer->TokenBytes(token, /*keep_special=*/true));
    if (text.size() > 1) special_texts_.push_back(std::move(text));
  }
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::Encode(const Prompt& prompt) const {
  if (const auto* tokens = std::get_if<std::vector<TokenId>>(&prompt)) return *tokens;
  if (const auto* messages = std::get_if<ChatPrompt>(&prompt)) return EncodeChat(*messages);
  auto tokens = tokenizer_->Encode(std::get<std::string>(prompt), EncodeOptions{});
  return tokens.ok() ? std::move(tokens) : PromptError(tokens.status());
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::EncodeChat(const ChatPrompt& messages) const {
  if (!render_chat_) {
    return InvalidParameterError("messages", "The served model has no chat template.");
  }
  // Special texts inside messages are broken by a mark; the rendered text is cut there again, so
  // that the tokenizer never sees such a text in one piece.
  const bool armed = std::any_of(messages.begin(), messages.end(), [this](const ChatMessage& m) {
    return HasSpecialText(m.content) || HasSpecialText(m.role);
  });
  const std::string mark = armed ? UnusedMark(messages) : "";
  if (armed && mark.empty()) {
    return InvalidParameterError("messages", "The messages use too many noncharacters.");
  }
  ChatPrompt safe = messages;
  for (ChatMessage& message : safe) {
    message.content = Disarm(std::move(message.content), mark);
    message.role = Disarm(std::move(message.role), mark);
  }
  auto rendered = render_chat_(safe);
  if (!rendered.ok()) return PromptError(rendered.status());

  std::vector<TokenId> tokens;
  std::string_view rest = *rendered;
  while (!rest.empty()) {
    const std::size_t cut = armed ? rest.find(mark) : std::string_view::npos;
    // The template adds the tokens that begin a text.
    auto piece = tokenizer_->Encode(rest.substr(0, cut), {.add_special_tokens = false});
    if (!piece.ok()) return PromptError(piece.status());
    tokens.insert(tokens.end(), piece->begin(), piece->end());
    rest.remove_prefix(cut == std::string_view::npos ? rest.size() : cut + mark.size());
  }
  return tokens;
}

bool PromptEncoder::HasSpecialText(const std::string& text) const {
  return std::any_of(special_texts_.begin(), special_texts_.end(), [&](const std::string& special) {
    return text.find(special) != std::string::npos;
  });
}

// Puts `mark` after the first character of every special text, also of those that overlap.
std::string PromptEncoder::Disarm(std::string text, const std::string& mark) const {
  if (mark.empty() || !HasSpecialText(text)) return text;
  std::vector<std::size_t> cuts;
  for (const std::string& special : special_texts_) {
    std::size_t first = 1;  // bytes of its first character
    while (first < special.size() && (special[first] & 0xC0) == 0x80) ++first;
    for (std::size_t at = text.find(special); at != std::string::npos;
         at = text.find(special, at + 1)) {
      if (first < special.size()) cuts.push_back(at + first);
    }
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::string disarmed;
  std::size_t done = 0;
  for (const std::size_t cut : cuts) {
    disarmed.append(text, done, cut - done).append(mark);
    done = cut;
  }
  return disarmed.append(text, done);
}

}  // namespace keyhole
