#include "engine/tokenizer/byte_level_bpe.h"

#include <utility>

#include "engine/tokenizer/byte_level_alphabet.h"
#include "engine/tokenizer/nfc.h"
#include "engine/tokenizer/utf8.h"

namespace keyhole {
namespace {

// A word's ids are remembered during one call: most words of a long text come again.
constexpr std::size_t kMaxRememberedWords = std::size_t{1} << 16;
constexpr std::size_t kMaxRememberedBytes = 64;

struct IdRange {
  std::size_t begin;
  std::size_t end;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteLevelBpe>> ByteLevelBpe::Create(const TokenizerData& data,
                                                                   const VocabularyIndex& index) {
  absl::StatusOr<PreTokenizer> pre_tokenizer = PreTokenizer::Create(data.pre);
  if (!pre_tokenizer.ok()) return pre_tokenizer.status();
  absl::StatusOr<MergeTable> merges = ReadMerges(data.merges, index);
  if (!merges.ok()) return merges.status();
  std::unique_ptr<ByteLevelBpe> bpe(
      new ByteLevelBpe(*std::move(pre_tokenizer), *std::move(merges)));
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = index.find(ByteLevelCharacter(static_cast<std::uint8_t>(byte)));
    bpe->byte_tokens_[byte] = found != index.end() ? found->second : data.spelling_unk.value_or(-1);
  }
  if (data.ignore_merges) {
    for (const auto& [token, id] : index) {
      if (TypeOf(data, id) != kTokenNormal) continue;
      if (std::optional<std::string> bytes = ByteLevelBytes(token)) {
        bpe->whole_words_.emplace(*std::move(bytes), id);
      }
    }
  }
  bpe->nfc_ = data.nfc;
  bpe->add_space_prefix_ = data.add_space_prefix.value_or(false);
  return bpe;
}

std::string ByteLevelBpe::Normalize(std::string_view fragment, bool /*first*/) const {
  std::string text = NormalizeToken(fragment);
  if (add_space_prefix_ && !text.starts_with(' ')) text.insert(0, 1, ' ');
  return text;
}

std::string ByteLevelBpe::NormalizeToken(std::string_view text) const {
  return nfc_ ? ToNfc(text) : std::string(text);
}

void ByteLevelBpe::EncodeWord(std::string_view word, std::vector<Symbol>* symbols) const {
  symbols->clear();
  if (!whole_words_.empty()) {
    const auto found = whole_words_.find(absl::string_view(word.data(), word.size()));
    if (found != whole_words_.end()) {
      symbols->push_back(found->second);
      return;
    }
  }
  for (const char byte : word) {
    const TokenId token = byte_tokens_[static_cast<std::uint8_t>(byte)];
    if (token >= 0) symbols->push_back(token);
  }
  merges_.Apply(symbols);
}

absl::Status ByteLevelBpe::Encode(std::string_view normalized, std::vector<TokenId>* ids) const {
  std::vector<std::string_view> words;
  absl::Status status = pre_tokenizer_.Split(normalized, &words);
  if (!status.ok()) return status;
  absl::flat_hash_map<std::string_view, IdRange, std::hash<std::string_view>> remembered;
  std::vector<Symbol> symbols;
  for (const std::string_view word : words) {
    const auto known = remembered.find(word);
    if (known != remembered.end()) {
      for (std::size_t i = known->second.begin; i < known->second.end; ++i) {
        ids->push_back((*ids)[i]);
      }
      continue;
    }
    EncodeWord(word, &symbols);
    const std::size_t begin = ids->size();
    ids->insert(ids->end(), symbols.begin(), symbols.end());
    if (word.size() <= kMaxRememberedBytes && remembered.size() < kMaxRememberedWords) {
      remembered.emplace(word, IdRange{begin, ids->size()});
    }
  }
  return absl::OkStatus();
}

}  // namespace keyhole
