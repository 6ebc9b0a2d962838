// SentencePiece's byte-pair encoding: pieces of characters with U+2581 for space, bytes for what is
// not in the vocabulary (Kudo and Richardson 2018), as Llama 2 and Mistral use it.
//
// The merging is our own because Debian's libsentencepiece exports an old Protobuf runtime of its
// own, which aborts a process that also uses gRPC's. The library is the oracle of the tests.
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
#include "engine/tokenizer/tokenizer_data.h"
#include "engine/tokenizer/vocabulary.h"

namespace keyhole {

class SpmBpe : public FragmentEncoder {
 public:
  // Kinds kSentencePiece (order of merges by score) and kMetaspaceBpe (by the list of merges).
  // REQUIRES: CheckTokenizerData(data) is OK, `index` is of `data`.
  // Errors: INVALID_ARGUMENT for merges that do not fit, or when neither bytes nor an unknown token
  // can stand for a character outside the vocabulary.
  static absl::StatusOr<std::unique_ptr<SpmBpe>> Create(const TokenizerData& data,
                                                        const VocabularyIndex& index);

  std::string Normalize(std::string_view fragment, bool first) const override;
  std::string NormalizeToken(std::string_view text) const override;
  absl::Status Encode(std::string_view normalized, std::vector<TokenId>* ids) const override;

 private:
  SpmBpe() = default;

  void ReadBehaviour(const TokenizerData& data);
  void ReadCharacters(const TokenizerData& data, const VocabularyIndex& index);
  std::size_t WordEnd(std::string_view text, std::size_t begin) const;
  void Spell(char32_t code_point, std::vector<TokenId>* ids) const;

  MergeTable merges_;
  absl::flat_hash_map<char32_t, TokenId> characters_;
  std::array<TokenId, 256> byte_tokens_{};
  bool has_bytes_ = false;
  TokenId unk_ = -1;
  bool fuse_unk_ = true;
  bool add_space_prefix_ = true;
  TokenizerData::SpacePrefix space_prefix_ = TokenizerData::SpacePrefix::kEveryFragment;
  bool remove_extra_whitespaces_ = false;
  bool cut_before_every_space_ = false;
  bool cut_before_words_ =
      false;  // no token continues over a U+2581 that follows another character
};

}  // namespace keyhole
