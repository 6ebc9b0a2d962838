// Checks of a vocabulary that came from a file, and look-ups in it while a tokenizer is built.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/tokenizer/merge_table.h"
#include "engine/tokenizer/tokenizer_data.h"

namespace keyhole {

// Token text -> id. Views into TokenizerData::tokens.
using VocabularyIndex = absl::flat_hash_map<std::string_view, TokenId, std::hash<std::string_view>>;

inline constexpr std::size_t kMaxVocabularySize = std::size_t{1} << 20;
inline constexpr std::size_t kMaxMerges = std::size_t{1} << 21;
inline constexpr std::size_t kMaxTokenBytes = 2048;
inline constexpr std::size_t kMaxVocabularyBytes = std::size_t{16} << 20;

// Sizes, types, scores, ids and text of `data`.
// Errors: INVALID_ARGUMENT names the first thing that is wrong.
absl::Status CheckTokenizerData(const TokenizerData& data);

// Errors: INVALID_ARGUMENT for a token that occurs twice; unused tokens are left out and may
// repeat.
absl::StatusOr<VocabularyIndex> IndexVocabulary(const TokenizerData& data);

// The merges as the file lists them, the first with the lowest rank.
// Errors: INVALID_ARGUMENT for a merge that is not two tokens of the vocabulary that give a third.
absl::StatusOr<MergeTable> ReadMerges(const std::vector<std::string>& merges,
                                      const VocabularyIndex& index);

TokenType TypeOf(const TokenizerData& data, TokenId id);

// Value of a byte token, "<0x0A>".
std::optional<std::uint8_t> ByteTokenValue(std::string_view token);

}  // namespace keyhole
