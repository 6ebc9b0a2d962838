#include "engine/tokenizer/incremental_detokenizer.h"

#include <string_view>

#include "engine/tokenizer/utf8.h"

namespace keyhole {

std::string IncrementalDetokenizer::Push(TokenId token) {
  std::string_view bytes = tokenizer_->TokenBytes(token, keep_special_);
  if (bytes.empty()) return {};
  if (at_start_) {
    const LeadingSpace leading = tokenizer_->leading_space();
    if (leading != LeadingSpace::kKept && bytes[0] == ' ') bytes.remove_prefix(1);
    at_start_ = leading == LeadingSpace::kDroppedEachToken && bytes.empty();
  }
  pending_.append(bytes);
  std::string text;
  const std::size_t unfinished = AppendLossy(pending_, /*keep_truncated=*/true, &text);
  pending_.erase(0, pending_.size() - unfinished);
  return text;
}

std::string IncrementalDetokenizer::Finish() {
  std::string text;
  AppendLossy(pending_, /*keep_truncated=*/false, &text);
  pending_.clear();
  return text;
}

}  // namespace keyhole
