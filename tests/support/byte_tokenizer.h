// A tokenizer without a model: one token for each byte, and a few special ones.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer.h"

namespace keyhole::testing {

// Ids 0 to 255 are bytes; then "<|begin|>", "<|end|>" (ends an answer) and "<|turn|>".
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr TokenId kBegin = 256;
  static constexpr TokenId kEnd = 257;
  static constexpr TokenId kTurn = 258;
  static constexpr int kVocabSize = 259;

  ByteTokenizer();

  // Adds no token of its own. Any bytes are accepted.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;
  std::string_view TokenBytes(TokenId token, bool keep_special) const override;
  std::string Decode(const std::vector<TokenId>& tokens, bool keep_special) const override;
  int vocab_size() const override { return kVocabSize; }
  bool is_special(TokenId token) const override { return token >= kBegin; }
  const std::vector<TokenId>& end_tokens() const override { return end_tokens_; }

 private:
  std::vector<std::string> texts_;  // by id
  std::vector<TokenId> end_tokens_ = {kEnd};
};

}  // namespace keyhole::testing
