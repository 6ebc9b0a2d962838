// Byte-level byte-pair encoding, as GPT-2, Llama 3, Qwen2 and SmolLM use it.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/tokenizer/fragment_encoder.h"
#include "engine/tokenizer/merge_table.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/tokenizer_data.h"
#include "engine/tokenizer/vocabulary.h"

namespace keyhole {

class ByteLevelBpe : public FragmentEncoder {
 public:
  // REQUIRES: CheckTokenizerData(data) is OK, `index` is of `data`.
  // Errors: INVALID_ARGUMENT for merges that do not fit the vocabulary; UNIMPLEMENTED for an
  // unknown pre-tokenizer.
  static absl::StatusOr<std::unique_ptr<ByteLevelBpe>> Create(const TokenizerData& data,
                                                              const VocabularyIndex& index);

  std::string Normalize(std::string_view fragment, bool first) const override;
  std::string NormalizeToken(std::string_view text) const override;
  absl::Status Encode(std::string_view normalized, std::vector<TokenId>* ids) const override;

 private:
  ByteLevelBpe(PreTokenizer pre_tokenizer, MergeTable merges)
      : pre_tokenizer_(std::move(pre_tokenizer)), merges_(std::move(merges)) {}

  void EncodeWord(std::string_view word, std::vector<Symbol>* symbols) const;

  PreTokenizer pre_tokenizer_;
  MergeTable merges_;
  std::array<TokenId, 256> byte_tokens_{};  // -1: the vocabulary cannot spell this byte
  // Tokens by their bytes; filled only when a word that is a token as a whole skips merging.
  absl::flat_hash_map<std::string, TokenId> whole_words_;
  bool nfc_ = false;
  bool add_space_prefix_ = false;
};

}  // namespace keyhole
