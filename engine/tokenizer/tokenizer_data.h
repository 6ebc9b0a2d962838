// What a model file says about its tokenizer, before anything is checked or built.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer.h"

namespace keyhole {

// A token that is found in the raw text before the model's own rules apply.
struct AddedToken {
  TokenId id = 0;
  std::string text;
  bool special = true;       // control token: TokenBytes hides it unless asked
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // swallows white space after it
  bool single_word = false;  // only between non-word characters
  bool normalized = false;   // searched for in the normalised text
};

// Filled from GGUF metadata, tokenizer.json or tokenizer.model. Values of GGUF keys named in the
// comments are copied as they stand; nothing needs to be consistent: MakeTokenizer checks
// everything.
struct TokenizerData {
  enum class Kind {
    kByteLevelBpe,   // tokenizer.ggml.model = "gpt2": tokens in the byte-level alphabet, merges
    kSentencePiece,  // tokenizer.ggml.model = "llama": pieces with U+2581 for space, scores
    kMetaspaceBpe,   // tokenizer.json with U+2581 pieces, byte fallback and merges
  };

  Kind kind = Kind::kByteLevelBpe;
  std::vector<std::string> tokens;  // tokenizer.ggml.tokens; index is the id
  std::vector<float> scores;        // tokenizer.ggml.scores; kSentencePiece only
  std::vector<int> types;           // tokenizer.ggml.token_type; empty: all normal
  std::vector<std::string> merges;  // tokenizer.ggml.merges: "left right"; not for kSentencePiece
  std::string pre;                  // tokenizer.ggml.pre; empty: "default"

  std::optional<TokenId> bos;                    // tokenizer.ggml.bos_token_id
  std::optional<TokenId> eos;                    // tokenizer.ggml.eos_token_id
  std::optional<TokenId> eot;                    // tokenizer.ggml.eot_token_id
  std::optional<TokenId> eom;                    // tokenizer.ggml.eom_token_id
  std::optional<TokenId> unk;                    // tokenizer.ggml.unknown_token_id
  std::optional<TokenId> pad;                    // tokenizer.ggml.padding_token_id
  std::vector<TokenId> more_end_tokens;          // generation_config.json's eos_token_id list
  std::optional<bool> add_bos;                   // tokenizer.ggml.add_bos_token
  std::optional<bool> add_eos;                   // tokenizer.ggml.add_eos_token
  std::optional<bool> add_space_prefix;          // tokenizer.ggml.add_space_prefix
  std::optional<bool> remove_extra_whitespaces;  // tokenizer.ggml.remove_extra_whitespaces
  std::string chat_template;                     // tokenizer.chat_template; empty: none

  // The rest comes only from Hugging Face and SentencePiece files; a GGUF reader leaves it alone.
  enum class SpacePrefix { kEveryFragment, kFirstFragment, kUnlessPresent };
  SpacePrefix space_prefix = SpacePrefix::kEveryFragment;  // where add_space_prefix applies
  std::vector<AddedToken> added_tokens;                    // beside those that `types` marks
  std::optional<TokenId> spelling_unk;  // stands for what a kByteLevelBpe vocabulary cannot spell
  bool nfc = false;                     // text is brought to NFC first
  bool ignore_merges = false;           // a piece that is a token as a whole is that token
  bool fuse_unk = true;                 // neighbouring unknown characters become one token
  bool split_at_spaces = false;         // kMetaspaceBpe: no merge crosses into the next U+2581
};

// Values of TokenizerData::types, as GGUF numbers them.
enum TokenType : int {
  kTokenNormal = 1,
  kTokenUnknown = 2,
  kTokenControl = 3,
  kTokenUserDefined = 4,
  kTokenUnused = 5,
  kTokenByte = 6,
};

// Checks `data` and builds the tokenizer of its kind.
// Errors: INVALID_ARGUMENT for data that contradicts itself or exceeds a bound; UNIMPLEMENTED for a
// kind of pre-tokenizer that is not known, with its name.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerData data);

// Text of special token `id` as a chat template sees it; empty when unset or out of range.
std::string SpecialTokenText(const TokenizerData& data, std::optional<TokenId> id);

}  // namespace keyhole
