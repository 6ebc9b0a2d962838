#include "tests/support/byte_tokenizer.h"

#include "engine/tokenizer/incremental_detokenizer.h"

namespace keyhole::testing {

ByteTokenizer::ByteTokenizer() {
  for (int byte = 0; byte < 256; ++byte) texts_.emplace_back(1, static_cast<char>(byte));
  texts_.insert(texts_.end(), {"<|begin|>", "<|end|>", "<|turn|>"});
}

absl::StatusOr<std::vector<TokenId>> ByteTokenizer::Encode(std::string_view text,
                                                           const EncodeOptions& options) const {
  std::vector<TokenId> tokens;
  while (!text.empty()) {
    TokenId token = static_cast<unsigned char>(text.front());
    for (TokenId special = kBegin; options.parse_special_tokens && special < kVocabSize;
         ++special) {
      if (text.starts_with(texts_[special])) token = special;
    }
    tokens.push_back(token);
    text.remove_prefix(texts_[token].size());
  }
  return tokens;
}

std::string_view ByteTokenizer::TokenBytes(TokenId token, bool keep_special) const {
  return is_special(token) && !keep_special ? std::string_view() : texts_[token];
}

std::string ByteTokenizer::Decode(const std::vector<TokenId>& tokens, bool keep_special) const {
  IncrementalDetokenizer detokenizer(this, keep_special);
  std::string text;
  for (const TokenId token : tokens) text += detokenizer.Push(token);
  return text + detokenizer.Finish();
}

}  // namespace keyhole::testing
