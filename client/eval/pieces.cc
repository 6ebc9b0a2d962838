#include "client/eval/pieces.h"

#include "client/eval/status.h"

namespace keyhole::eval {

absl::StatusOr<bool> Pieces::AddsSpace() {
  if (adds_space_ < 0) {
    KEYHOLE_EVAL_ASSIGN(const TokenIds whole, tokenizer_->Tokenize("one two", {}));
    KEYHOLE_EVAL_ASSIGN(TokenIds parts, tokenizer_->Tokenize("one", {}));
    KEYHOLE_EVAL_ASSIGN(const TokenIds second, tokenizer_->Tokenize("two", {}));
    Append(second, &parts);
    adds_space_ = parts == whole;
  }
  return adds_space_ != 0;
}

absl::StatusOr<TokenIds> Pieces::Text(const std::string& piece) {
  if (piece.empty()) return TokenIds();
  if (auto found = known_.find(piece); found != known_.end()) return found->second;
  KEYHOLE_EVAL_ASSIGN(const bool adds_space, AddsSpace());
  const bool strip = adds_space && piece[0] == ' ';
  KEYHOLE_EVAL_ASSIGN(TokenIds ids, tokenizer_->Tokenize(strip ? piece.substr(1) : piece, {}));
  known_.emplace(piece, ids);
  return ids;
}

absl::StatusOr<TokenIds> Pieces::Markup(const std::string& piece) {
  if (piece.empty()) return TokenIds();
  KEYHOLE_EVAL_ASSIGN(const bool adds_space, AddsSpace());
  const bool strip = adds_space && piece[0] == ' ';
  return tokenizer_->Tokenize(strip ? piece.substr(1) : piece, {.parse_special_tokens = true});
}

}  // namespace keyhole::eval
