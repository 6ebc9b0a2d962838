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

// How a prompt is cut into prefill chunks. A chunk shares one selection in each layer, and a
// question stands at the prompt's end: there, chunks are short, so that it finds what it asks for.
struct Chunking {
  std::int32_t chunk_size = 512;
  std::int32_t tail = 128;       // last tokens of a prompt that are cut into short chunks
  std::int32_t tail_chunk = 0;   // their size; 0: as all others
  std::int32_t long_prompt = 0;  // prompts of fewer tokens have no short chunks
};

// The next prefill chunk. It ends at the next multiple of chunk_size, where the tail begins, or in
// the tail a multiple of tail_chunk before the prompt's end: where chunks begin depends on the
// prompt's length alone, and before the tail not even on that. REQUIRES: computed < prompt_len.
constexpr TokenRange NextChunk(std::int32_t computed,
                               std::int32_t prompt_len,
                               const Chunking& chunking) {
  std::int32_t end =
      std::min(prompt_len, (computed / chunking.chunk_size + 1) * chunking.chunk_size);
  if (chunking.tail_chunk > 0 && prompt_len >= chunking.long_prompt) {
    const std::int32_t tail_begin = std::max(0, prompt_len - chunking.tail);
    if (computed < tail_begin) {
      end = std::min(end, tail_begin);
    } else {
      const std::int32_t short_by = (prompt_len - computed) % chunking.tail_chunk;
      end = std::min(end, computed + (short_by > 0 ? short_by : chunking.tail_chunk));
    }
  }
  return {computed, end - computed};
}

// Of the usual size: the tail's short ones make up one or two of these.
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
