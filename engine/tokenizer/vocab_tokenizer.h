// The Tokenizer of every family: special tokens, BOS and EOS, token texts; a FragmentEncoder does
// the rest.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/fragment_encoder.h"
#include "engine/tokenizer/special_tokens.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

class VocabTokenizer : public Tokenizer {
 public:
  // REQUIRES: CheckTokenizerData(data) is OK.
  // Errors: INVALID_ARGUMENT for an added token that cannot be searched for.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(
      const TokenizerData& data, std::unique_ptr<const FragmentEncoder> encoder);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;
  std::string_view TokenBytes(TokenId token, bool keep_special) const override;
  std::string Decode(const std::vector<TokenId>& tokens, bool keep_special) const override;
  int vocab_size() const override { return static_cast<int>(bytes_.size()); }
  bool is_special(TokenId token) const override { return special_[token]; }
  const std::vector<TokenId>& end_tokens() const override { return end_tokens_; }
  LeadingSpace leading_space() const override { return leading_space_; }

 private:
  // Tokens searched for in the text as given, and in the normalised text.
  struct Searched {
    SpecialTokens raw;
    SpecialTokens normalized;
  };

  explicit VocabTokenizer(std::unique_ptr<const FragmentEncoder> encoder)
      : encoder_(std::move(encoder)) {}

  void ReadTexts(const TokenizerData& data);
  void ReadEnds(const TokenizerData& data);
  absl::Status ReadSearched(const TokenizerData& data);
  absl::Status EncodeFragment(std::string_view fragment,
                              bool first,
                              const Searched& searched,
                              std::vector<TokenId>* ids) const;

  std::unique_ptr<const FragmentEncoder> encoder_;
  std::vector<std::string> bytes_;  // [vocab_size]
  std::vector<bool> special_;       // [vocab_size]
  std::vector<TokenId> end_tokens_;
  Searched all_;
  Searched ordinary_;           // without special tokens
  std::optional<TokenId> bos_;  // set: goes before every text
  std::optional<TokenId> eos_;  // set: goes after every text
  LeadingSpace leading_space_ = LeadingSpace::kKept;
};

}  // namespace keyhole
