// Token ids of the pieces of a text, such that the pieces' ids in a row are the text's.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"

namespace keyhole::eval {

using TokenIds = std::vector<std::int32_t>;

inline void Append(const TokenIds& more, TokenIds* ids) {
  ids->insert(ids->end(), more.begin(), more.end());
}

// Where ids come from: a server, or a test.
class TextTokenizer {
 public:
  struct Options {
    bool add_special_tokens = false;    // those that the model puts before a text
    bool parse_special_tokens = false;  // recognise them in the text
  };

  virtual ~TextTokenizer() = default;
  virtual absl::StatusOr<TokenIds> Tokenize(const std::string& text, Options options) = 0;
};

// Remembers every piece, since documents of several lengths share their sentences.
// Thread: one owner. Errors: the tokenizer's.
class Pieces {
 public:
  explicit Pieces(TextTokenizer* tokenizer) : tokenizer_(tokenizer) {}

  // Another that gives the same ids.
  void UseTokenizer(TextTokenizer* tokenizer) { tokenizer_ = tokenizer; }

  // What stands before every text: the begin token, or nothing.
  absl::StatusOr<TokenIds> Beginning() {
    return tokenizer_->Tokenize("", {.add_special_tokens = true});
  }

  // A piece of plain text, which begins with a space where a word begins.
  absl::StatusOr<TokenIds> Text(const std::string& piece);

  // A piece in which special tokens are recognised.
  absl::StatusOr<TokenIds> Markup(const std::string& piece);

 private:
  // Whether the tokenizer puts a space before each text, as SentencePiece does.
  absl::StatusOr<bool> AddsSpace();

  TextTokenizer* tokenizer_;
  int adds_space_ = -1;  // -1: not yet known
  std::unordered_map<std::string, TokenIds> known_;
};

}  // namespace keyhole::eval
