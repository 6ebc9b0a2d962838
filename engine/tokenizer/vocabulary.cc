#include "engine/tokenizer/vocabulary.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "engine/tokenizer/utf8.h"

namespace keyhole {
namespace {

template <typename... Args>
absl::Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return absl::InvalidArgumentError("tokenizer: " +
                                    fmt::format(format, std::forward<Args>(args)...));
}

absl::Status CheckTokens(const TokenizerData& data) {
  const std::size_t n = data.tokens.size();
  if (n == 0) return Invalid("the vocabulary is empty");
  if (n > kMaxVocabularySize) return Invalid("{} tokens; at most {}", n, kMaxVocabularySize);
  std::size_t total = 0;
  for (std::size_t id = 0; id < n; ++id) {
    const std::string& token = data.tokens[id];
    total += token.size();
    if (token.size() > kMaxTokenBytes) {
      return Invalid("token {} has {} bytes; at most {}", id, token.size(), kMaxTokenBytes);
    }
    if (total > kMaxVocabularyBytes) {
      return Invalid("the tokens have more than {} bytes together", kMaxVocabularyBytes);
    }
    if (!IsValidUtf8(token)) return Invalid("token {} is not valid UTF-8", id);
    if (token.empty() && TypeOf(data, static_cast<TokenId>(id)) != kTokenUnused) {
      return Invalid("token {} is empty", id);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLengths(const TokenizerData& data) {
  const std::size_t n = data.tokens.size();
  if (!data.types.empty() && data.types.size() != n) {
    return Invalid("{} token types for {} tokens", data.types.size(), n);
  }
  for (std::size_t id = 0; id < data.types.size(); ++id) {
    if (data.types[id] < kTokenNormal || data.types[id] > kTokenByte) {
      return Invalid("token {} has type {}; 1 to 6 are possible", id, data.types[id]);
    }
  }
  if (data.kind == TokenizerData::Kind::kSentencePiece && data.scores.size() != n) {
    return Invalid("{} scores for {} tokens", data.scores.size(), n);
  }
  for (std::size_t id = 0; id < data.scores.size(); ++id) {
    if (!std::isfinite(data.scores[id])) return Invalid("the score of token {} is not finite", id);
  }
  if (data.merges.size() > kMaxMerges) {
    return Invalid("{} merges; at most {}", data.merges.size(), kMaxMerges);
  }
  return absl::OkStatus();
}

absl::Status CheckIds(const TokenizerData& data) {
  const auto n = static_cast<TokenId>(data.tokens.size());
  struct Named {
    const char* name;
    std::optional<TokenId> id;
  };
  const Named ids[] = {{"bos", data.bos},
                       {"eos", data.eos},
                       {"eot", data.eot},
                       {"eom", data.eom},
                       {"unk", data.unk},
                       {"pad", data.pad},
                       {"unk", data.spelling_unk}};
  for (const Named& named : ids) {
    if (named.id && (*named.id < 0 || *named.id >= n)) {
      return Invalid("{} token id {} is outside of [0, {})", named.name, *named.id, n);
    }
  }
  for (const TokenId id : data.more_end_tokens) {
    if (id < 0 || id >= n) return Invalid("end token id {} is outside of [0, {})", id, n);
  }
  for (const AddedToken& token : data.added_tokens) {
    if (token.id < 0 || token.id >= n) {
      return Invalid("added token id {} is outside of [0, {})", token.id, n);
    }
    if (!IsValidUtf8(token.text)) return Invalid("added token {} is not valid UTF-8", token.id);
  }
  if (data.add_bos.value_or(false) && !data.bos)
    return Invalid("BOS is to be added, but has no id");
  if (data.add_eos.value_or(false) && !data.eos)
    return Invalid("EOS is to be added, but has no id");
  return absl::OkStatus();
}

}  // namespace

TokenType TypeOf(const TokenizerData& data, TokenId id) {
  return data.types.empty() ? kTokenNormal : static_cast<TokenType>(data.types[id]);
}

absl::Status CheckTokenizerData(const TokenizerData& data) {
  absl::Status status = CheckLengths(data);
  if (status.ok()) status = CheckTokens(data);
  if (status.ok()) status = CheckIds(data);
  return status;
}

absl::StatusOr<VocabularyIndex> IndexVocabulary(const TokenizerData& data) {
  VocabularyIndex index;
  index.reserve(data.tokens.size());
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (TypeOf(data, id) == kTokenUnused) continue;
    const auto [found, added] = index.try_emplace(data.tokens[i], id);
    if (!added) {
      return Invalid("tokens {} and {} are both '{:.64}'", found->second, id, data.tokens[i]);
    }
  }
  return index;
}

absl::StatusOr<MergeTable> ReadMerges(const std::vector<std::string>& merges,
                                      const VocabularyIndex& index) {
  MergeTable table;
  table.Reserve(merges.size());
  std::string joined;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string_view merge = merges[i];
    const std::size_t space = merge.size() > 2 * kMaxTokenBytes ? merge.npos : merge.find(' ', 1);
    if (space == merge.npos || space + 1 == merge.size()) {
      return Invalid("merge {} is not two tokens with a space between: '{:.64}'", i, merge);
    }
    const auto left = index.find(merge.substr(0, space));
    const auto right = index.find(merge.substr(space + 1));
    joined.assign(merge.substr(0, space)).append(merge.substr(space + 1));
    const auto result = index.find(joined);
    if (left == index.end() || right == index.end() || result == index.end()) {
      return Invalid("merge {} uses a token that is not in the vocabulary: '{:.64}'", i, merge);
    }
    table.Add(left->second, right->second, {static_cast<std::uint32_t>(i), result->second});
  }
  return table;
}

std::optional<std::uint8_t> ByteTokenValue(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  std::uint8_t value = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return value;
}

}  // namespace keyhole
