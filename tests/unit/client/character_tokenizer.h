// A tokenizer whose ids are the bytes of the text, after a begin token.
#pragma once

#include <string>

#include "client/eval/pieces.h"

namespace keyhole::eval {

class CharacterTokenizer : public TextTokenizer {
 public:
  static constexpr std::int32_t kBegin = 256;

  absl::StatusOr<TokenIds> Tokenize(const std::string& text, Options options) override {
    ++calls;
    TokenIds ids;
    if (options.add_special_tokens) ids.push_back(kBegin);
    if (adds_space) ids.push_back(' ');
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }

  bool adds_space = false;  // as SentencePiece does
  int calls = 0;
};

inline std::string TextOf(const TokenIds& ids) {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id != CharacterTokenizer::kBegin) text.push_back(static_cast<char>(id));
  }
  return text;
}

}  // namespace keyhole::eval
