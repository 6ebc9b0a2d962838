#include "engine/tokenizer/spm_bpe.h"

#include <algorithm>
#include <functional>

#include "engine/tokenizer/utf8.h"

namespace keyhole {
namespace {

constexpr std::string_view kSpace = "\u2581";
constexpr std::size_t kMaxPieceBytes =
    512;  // building takes time quadratic in the length of a piece

// Symbol for a character that is not a token.
Symbol CharacterSymbol(char32_t code_point) { return -1 - static_cast<Symbol>(code_point); }
char32_t CharacterOf(Symbol symbol) { return static_cast<char32_t>(-1 - symbol); }

bool IsSingleCharacter(std::string_view text) {
  return !text.empty() && ReadUtf8(text, 0).length == text.size();
}

// Symbols that can stand for `text`: a normal token, or one character.
bool FindSymbol(const TokenizerData& data,
                const VocabularyIndex& index,
                std::string_view text,
                Symbol* symbol) {
  const auto found = index.find(text);
  if (found != index.end() && TypeOf(data, found->second) == kTokenNormal) {
    *symbol = found->second;
    return true;
  }
  if (!IsSingleCharacter(text)) return false;
  *symbol = CharacterSymbol(ReadUtf8(text, 0).code_point);
  return true;
}

// Rank of each token: 0 for the highest score, equal for equal scores.
std::vector<std::uint32_t> RankByScore(const std::vector<float>& scores) {
  std::vector<float> distinct = scores;
  std::sort(distinct.begin(), distinct.end(), std::greater<>());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<std::uint32_t> ranks;
  ranks.reserve(scores.size());
  for (const float score : scores) {
    const auto place = std::lower_bound(distinct.begin(), distinct.end(), score, std::greater<>());
    ranks.push_back(static_cast<std::uint32_t>(place - distinct.begin()));
  }
  return ranks;
}

// SentencePiece joins any two neighbours whose texts together are a piece: all such pairs.
absl::StatusOr<MergeTable> MergesFromScores(const TokenizerData& data,
                                            const VocabularyIndex& index) {
  const std::vector<std::uint32_t> ranks = RankByScore(data.scores);
  MergeTable table;
  table.Reserve(2 * data.tokens.size());
  for (TokenId id = 0; id < static_cast<TokenId>(data.tokens.size()); ++id) {
    if (TypeOf(data, id) != kTokenNormal) continue;
    const std::string_view piece = data.tokens[id];
    if (piece.size() > kMaxPieceBytes) {
      return absl::InvalidArgumentError("tokenizer: piece " + std::to_string(id) + " has " +
                                        std::to_string(piece.size()) + " bytes; at most " +
                                        std::to_string(kMaxPieceBytes));
    }
    for (std::size_t at = ReadUtf8(piece, 0).length; at < piece.size();
         at += ReadUtf8(piece, at).length) {
      Symbol left = 0;
      Symbol right = 0;
      if (FindSymbol(data, index, piece.substr(0, at), &left) &&
          FindSymbol(data, index, piece.substr(at), &right)) {
        table.Add(left, right, {ranks[id], id});
      }
    }
  }
  return table;
}

// True when `piece` goes on after a U+2581 that follows another character.
bool SpansWords(std::string_view piece) {
  std::size_t at = 0;
  while (piece.substr(at).starts_with(kSpace)) at += kSpace.size();
  return piece.find(kSpace, at) != piece.npos;
}

// SentencePiece's rule: no spaces at either end, single ones between. What is written as U+2581 in
// the text is no space, but at the end it goes too.
std::string CollapseSpaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' && (out.empty() || out.back() == ' ')) continue;
    out.push_back(c);
  }
  while (out.ends_with(' ') || out.ends_with(kSpace)) {
    out.resize(out.size() - (out.ends_with(' ') ? 1 : kSpace.size()));
  }
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SpmBpe>> SpmBpe::Create(const TokenizerData& data,
                                                       const VocabularyIndex& index) {
  absl::StatusOr<MergeTable> merges = data.kind == TokenizerData::Kind::kSentencePiece
                                          ? MergesFromScores(data, index)
                                          : ReadMerges(data.merges, index);
  if (!merges.ok()) return merges.status();
  std::unique_ptr<SpmBpe> bpe(new SpmBpe());
  bpe->merges_ = *std::move(merges);
  bpe->ReadBehaviour(data);
  bpe->ReadCharacters(data, index);
  if (!bpe->has_bytes_ && bpe->unk_ < 0) {
    return absl::InvalidArgumentError(
        "tokenizer: the vocabulary has neither all byte tokens nor an unknown token");
  }
  return bpe;
}

void SpmBpe::ReadBehaviour(const TokenizerData& data) {
  unk_ = data.unk.value_or(-1);
  fuse_unk_ = data.fuse_unk;
  add_space_prefix_ = data.add_space_prefix.value_or(true);
  space_prefix_ = data.space_prefix;
  remove_extra_whitespaces_ = data.remove_extra_whitespaces.value_or(false);
  cut_before_every_space_ = data.split_at_spaces;
}

void SpmBpe::ReadCharacters(const TokenizerData& data, const VocabularyIndex& index) {
  byte_tokens_.fill(-1);
  cut_before_words_ = true;
  for (const auto& [text, id] : index) {
    const TokenType type = TypeOf(data, id);
    const std::optional<std::uint8_t> byte = ByteTokenValue(text);
    if (type == kTokenByte && byte) byte_tokens_[*byte] = id;
    if (type == kTokenUnknown && unk_ < 0) unk_ = id;
    if (type != kTokenNormal) continue;
    if (IsSingleCharacter(text)) characters_.emplace(ReadUtf8(text, 0).code_point, id);
    if (SpansWords(text)) cut_before_words_ = false;
  }
  has_bytes_ = std::find(byte_tokens_.begin(), byte_tokens_.end(), -1) == byte_tokens_.end();
}

std::string SpmBpe::NormalizeToken(std::string_view text) const {
  std::string out;
  out.reserve(text.size() + text.size() / 4 + kSpace.size());
  for (const char c : text) {
    if (c == ' ') {
      out += kSpace;
    } else {
      out.push_back(c);
    }
  }
  return out;
}

std::string SpmBpe::Normalize(std::string_view fragment, bool first) const {
  std::string text =
      NormalizeToken(remove_extra_whitespaces_ ? CollapseSpaces(fragment) : fragment);
  using enum TokenizerData::SpacePrefix;
  const bool wanted = add_space_prefix_ && !text.empty() &&
                      (space_prefix_ != kFirstFragment || first) &&
                      (space_prefix_ == kEveryFragment || !text.starts_with(kSpace));
  if (wanted) text.insert(0, kSpace);
  return text;
}

// Where the word that starts at `begin` ends, so far as merging cannot tell the difference.
std::size_t SpmBpe::WordEnd(std::string_view text, std::size_t begin) const {
  if (!cut_before_words_ && !cut_before_every_space_) return text.size();
  std::size_t at = begin;
  if (cut_before_every_space_) {
    if (text.substr(at).starts_with(kSpace)) at += kSpace.size();
  } else {
    while (text.substr(at).starts_with(kSpace)) at += kSpace.size();
  }
  return std::min(text.find(kSpace, at), text.size());
}

void SpmBpe::Spell(char32_t code_point, std::vector<TokenId>* ids) const {
  if (has_bytes_) {
    std::string bytes;
    AppendUtf8(code_point, &bytes);
    for (const char byte : bytes) ids->push_back(byte_tokens_[static_cast<std::uint8_t>(byte)]);
  } else {
    ids->push_back(unk_);
  }
}

absl::Status SpmBpe::Encode(std::string_view normalized, std::vector<TokenId>* ids) const {
  std::vector<Symbol> symbols;
  bool after_unknown = false;
  for (std::size_t begin = 0; begin < normalized.size();) {
    const std::size_t end = WordEnd(normalized, begin);
    symbols.clear();
    while (begin < end) {
      const Utf8Unit unit = ReadUtf8(normalized, begin);
      const auto found = characters_.find(unit.code_point);
      symbols.push_back(found != characters_.end() ? found->second
                                                   : CharacterSymbol(unit.code_point));
      begin += unit.length;
    }
    merges_.Apply(&symbols);
    for (const Symbol symbol : symbols) {
      const bool unknown = symbol < 0 && !has_bytes_;
      if (symbol >= 0) {
        ids->push_back(symbol);
      } else if (!unknown || !after_unknown || !fuse_unk_) {
        Spell(CharacterOf(symbol), ids);
      }
      after_unknown = unknown;
    }
  }
  return absl::OkStatus();
}

}  // namespace keyhole
