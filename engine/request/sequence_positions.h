// Lengths of one sequence, defined once. Pure arithmetic.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/request/request.h"

namespace keyhole {

// Tokens [begin, begin + count) of a sequence.
struct TokenRange {
  std::int32_t begin = 0;
  std::int32_t count = 0;
  bool operator==(const TokenRange&) const = default;
};

// The next prefill chunk: it starts at a multiple of chunk_size and only the prompt's end makes it
// shorter. REQUIRES: computed is a multiple of chunk_size below prompt_len.
constexpr TokenRange NextChunk(std::int32_t computed,
                               std::int32_t prompt_len,
                               std::int32_t chunk_size) {
  return {computed, std::min(chunk_size, prompt_len - computed)};
}

constexpr std::int32_t ChunksLeft(std::int32_t computed,
                                  std::int32_t prompt_len,
                                  std::int32_t chunk_size) {
  return (prompt_len - computed + chunk_size - 1) / chunk_size;
}

// Rows of `chunk` (relative to its begin) whose next token is in `range`. The row before a token
// predicts it; the prompt's last row predicts the output.
constexpr TokenRange PromptLogprobRows(TokenRange chunk, PromptLogprobRange range) {
  const std::int32_t begin = std::max(range.first - 1, chunk.begin);
  const std::int32_t end = std::min(range.first - 1 + range.count, chunk.begin + chunk.count);
  return end > begin ? TokenRange{begin - chunk.begin, end - begin} : TokenRange{};
}

}  // namespace keyhole
