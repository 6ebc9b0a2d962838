#include "engine/tokenizer/incremental_detokenizer.h"

#include <string_view>
#include <utility>

#include "engine/tokenizer/utf8.h"

namespace keyhole {

std::string IncrementalDetokenizer::Push(TokenId token) {
  std::string_view bytes = tokenizer_->TokenBytes(token, keep_special_);
  if (bytes.empty()) return {};
  if (std::exchange(at_start_, false) && tokenizer_->drops_leading_space() && bytes[0] == ' ') {
    bytes.remove_prefix(1);
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
