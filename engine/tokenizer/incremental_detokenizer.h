// Turns a stream of token ids into text, whole UTF-8 characters at a time.
#pragma once

#include <string>

#include "engine/tokenizer/tokenizer.h"

namespace keyhole {

// Concatenated output of Push and Finish equals Tokenizer::Decode of all ids pushed.
// Thread: one owner.
class IncrementalDetokenizer {
 public:
  // REQUIRES: `tokenizer` outlives this object.
  explicit IncrementalDetokenizer(const Tokenizer* tokenizer, bool keep_special = false)
      : tokenizer_(tokenizer), keep_special_(keep_special) {}

  // Text that became complete with this token; empty while a character is unfinished.
  std::string Push(TokenId token);

  // What is left: U+FFFD for an unfinished character.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool keep_special_;
  std::string pending_;   // bytes of an unfinished character
  bool at_start_ = true;  // no text yet: see LeadingSpace
};

}  // namespace keyhole
