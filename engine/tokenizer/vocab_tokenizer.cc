#include "engine/tokenizer/vocab_tokenizer.h"

#include <algorithm>
#include <array>

#include "engine/tokenizer/byte_level_alphabet.h"
#include "engine/tokenizer/incremental_detokenizer.h"
#include "engine/tokenizer/utf8.h"
#include "engine/tokenizer/vocabulary.h"

namespace keyhole {
namespace {

// Control tokens that end a turn or a text in some family of models, whatever the file names as
// EOS.
constexpr std::array<std::string_view, 8> kEndTokenTexts = {"<|im_end|>",
                                                            "<|endoftext|>",
                                                            "<|eot_id|>",
                                                            "<|eom_id|>",
                                                            "<|end_of_text|>",
                                                            "<|end|>",
                                                            "<end_of_turn>",
                                                            "<|endofturn|>"};

bool IsSpecialType(TokenType type) { return type == kTokenControl || type == kTokenUnknown; }

std::string ReplaceSpaceMarks(std::string_view piece) {
  constexpr std::string_view kMark = "\u2581";
  std::string out;
  for (std::size_t at = 0; at < piece.size();) {
    const bool mark = piece.substr(at).starts_with(kMark);
    out.push_back(mark ? ' ' : piece[at]);
    at += mark ? kMark.size() : 1;
  }
  return out;
}

// What token `id` adds to a text.
std::string BytesOf(const TokenizerData& data, TokenId id) {
  const std::string& token = data.tokens[id];
  const TokenType type = TypeOf(data, id);
  if (IsSpecialType(type)) return token;
  if (data.kind != TokenizerData::Kind::kByteLevelBpe) {
    const std::optional<std::uint8_t> byte = ByteTokenValue(token);
    if (type == kTokenByte && byte) return std::string(1, static_cast<char>(*byte));
    return ReplaceSpaceMarks(token);
  }
  if (type == kTokenUserDefined) return token;
  return ByteLevelBytes(token).value_or(token);
}

// The tokens that `types` marks for search, and those listed; a listed one wins over a marked one
// of the same id.
std::vector<AddedToken> AllAddedTokens(const TokenizerData& data) {
  std::vector<AddedToken> added = data.added_tokens;
  std::vector<bool> listed(data.tokens.size(), false);
  for (const AddedToken& token : added) listed[token.id] = true;
  for (TokenId id = 0; id < static_cast<TokenId>(data.tokens.size()); ++id) {
    const TokenType type = TypeOf(data, id);
    const bool special = IsSpecialType(type);
    if (listed[id] || (!special && type != kTokenUserDefined)) continue;
    added.push_back({id, data.tokens[id], special, false, false, false, /*normalized=*/!special});
  }
  return added;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> VocabTokenizer::Create(
    const TokenizerData& data, std::unique_ptr<const FragmentEncoder> encoder) {
  std::unique_ptr<VocabTokenizer> tokenizer(new VocabTokenizer(std::move(encoder)));
  tokenizer->ReadTexts(data);
  tokenizer->ReadEnds(data);
  absl::Status status = tokenizer->ReadSearched(data);
  if (!status.ok()) return status;
  return tokenizer;
}

void VocabTokenizer::ReadTexts(const TokenizerData& data) {
  const auto n = static_cast<TokenId>(data.tokens.size());
  bytes_.reserve(n);
  special_.reserve(n);
  for (TokenId id = 0; id < n; ++id) {
    bytes_.push_back(BytesOf(data, id));
    special_.push_back(IsSpecialType(TypeOf(data, id)));
  }
  for (const AddedToken& token : data.added_tokens) {
    bytes_[token.id] = token.text;
    if (token.special) special_[token.id] = true;
  }
  if (data.kind == TokenizerData::Kind::kByteLevelBpe) return;
  if (data.remove_extra_whitespaces.value_or(false)) {
    leading_space_ = LeadingSpace::kDroppedEachToken;
  } else if (data.add_space_prefix.value_or(true)) {
    leading_space_ = LeadingSpace::kDroppedOnce;
  }
}

void VocabTokenizer::ReadEnds(const TokenizerData& data) {
  const bool sentence_piece = data.kind == TokenizerData::Kind::kSentencePiece;
  const bool llama3 = data.pre == "llama-bpe" || data.pre == "llama3" || data.pre == "llama-v3";
  if (data.add_bos.value_or(sentence_piece || llama3)) bos_ = data.bos;
  if (data.add_eos.value_or(false)) eos_ = data.eos;

  const auto add = [&](TokenId id) {
    if (std::find(end_tokens_.begin(), end_tokens_.end(), id) == end_tokens_.end()) {
      end_tokens_.push_back(id);
    }
  };
  for (const std::optional<TokenId> id : {data.eos, data.eot, data.eom}) {
    if (id) add(*id);
  }
  for (const TokenId id : data.more_end_tokens) add(id);
  for (TokenId id = 0; id < vocab_size(); ++id) {
    const auto known = std::find(kEndTokenTexts.begin(), kEndTokenTexts.end(), bytes_[id]);
    if (special_[id] && known != kEndTokenTexts.end()) add(id);
  }
}

absl::Status VocabTokenizer::ReadSearched(const TokenizerData& data) {
  struct Group {
    std::vector<AddedToken> tokens;
    SpecialTokens* built;
  };
  Group groups[] = {
      {{}, &all_.raw}, {{}, &all_.normalized}, {{}, &ordinary_.raw}, {{}, &ordinary_.normalized}};
  for (AddedToken& token : AllAddedTokens(data)) {
    if (token.normalized) token.text = encoder_->NormalizeToken(token.text);
    const int place = token.normalized ? 1 : 0;
    if (!token.special) groups[2 + place].tokens.push_back(token);
    groups[place].tokens.push_back(std::move(token));
  }
  for (const Group& group : groups) {
    absl::StatusOr<SpecialTokens> built = SpecialTokens::Build(group.tokens);
    if (!built.ok()) return built.status();
    *group.built = *std::move(built);
  }
  return absl::OkStatus();
}

absl::Status VocabTokenizer::EncodeFragment(std::string_view fragment,
                                            bool first,
                                            const Searched& searched,
                                            std::vector<TokenId>* ids) const {
  const std::string normalized = encoder_->Normalize(fragment, first);
  for (const SpecialTokens::Fragment& part : searched.normalized.Split(normalized)) {
    if (part.token) {
      ids->push_back(*part.token);
      continue;
    }
    absl::Status status = encoder_->Encode(part.text, ids);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> VocabTokenizer::Encode(std::string_view text,
                                                            const EncodeOptions& options) const {
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError("the text is not valid UTF-8");
  const Searched& searched = options.parse_special_tokens ? all_ : ordinary_;
  std::vector<TokenId> ids;
  if (options.add_special_tokens && bos_) ids.push_back(*bos_);
  for (const SpecialTokens::Fragment& fragment : searched.raw.Split(text)) {
    if (fragment.token) {
      ids.push_back(*fragment.token);
      continue;
    }
    const bool first = fragment.text.data() == text.data();
    absl::Status status = EncodeFragment(fragment.text, first, searched, &ids);
    if (!status.ok()) return status;
  }
  if (options.add_special_tokens && eos_) ids.push_back(*eos_);
  return ids;
}

std::string_view VocabTokenizer::TokenBytes(TokenId token, bool keep_special) const {
  if (special_[token] && !keep_special) return {};
  return bytes_[token];
}

std::string VocabTokenizer::Decode(const std::vector<TokenId>& tokens, bool keep_special) const {
  IncrementalDetokenizer detokenizer(this, keep_special);
  std::string text;
  for (const TokenId token : tokens) text += detokenizer.Push(token);
  return text + detokenizer.Finish();
}

}  // namespace keyhole
