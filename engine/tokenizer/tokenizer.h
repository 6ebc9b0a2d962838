// Text to token ids and back, as the model was trained.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/types.h"

namespace keyhole {

struct EncodeOptions {
  bool add_special_tokens = true;  // BOS / EOS as the model file says
  bool parse_special_tokens =
      true;  // "<|im_start|>" in the text becomes its id; false: ordinary text
};

// Spaces that a SentencePiece model has put before a text, or would not have kept there.
enum class LeadingSpace {
  kKept,
  kDroppedOnce,       // it puts one before the first word
  kDroppedEachToken,  // it keeps none: one is dropped from each token until there is text
};

// Thread: immutable after construction, any thread.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Errors: INVALID_ARGUMENT for text that is not valid UTF-8. Time linear in the length of the
  // text.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                                      const EncodeOptions& options) const = 0;

  // Bytes of one token, possibly part of a character; empty for a special token unless
  // `keep_special`. REQUIRES: 0 <= token < vocab_size().
  virtual std::string_view TokenBytes(TokenId token, bool keep_special) const = 0;

  // Text of a whole sequence of ids; invalid bytes become U+FFFD.
  virtual std::string Decode(const std::vector<TokenId>& tokens, bool keep_special) const = 0;

  virtual int vocab_size() const = 0;
  virtual bool is_special(TokenId token) const = 0;
  virtual const std::vector<TokenId>& end_tokens() const = 0;  // any of them ends a sequence

  // What Decode takes away again from the tokens before the first text.
  virtual LeadingSpace leading_space() const { return LeadingSpace::kKept; }
};

}  // namespace keyhole
