// How the candidates of a sequence are cut for the first pass of scoring. Pure arithmetic.
#pragma once

#include <cstdint>

#include "engine/ops/cuda/kernels/digest_place.h"

namespace keyhole::cuda {

constexpr std::int32_t kSpanUnit = 512;  // tokens: one turn of a block
constexpr std::int32_t kMaxScoreSpans = 512;

struct ScoreSpans {
  std::int32_t span_tokens = kSpanUnit;
  std::int32_t n_spans = 0;
};

// Tokens from the begin of the block that holds the first candidate.
constexpr std::int32_t SpannedTokens(std::int32_t begin, std::int32_t end) {
  return end <= begin ? 0 : end - begin / kBlockTokens * kBlockTokens;
}

// Depends on the sequence's own range alone.
constexpr ScoreSpans SpansOf(std::int32_t begin, std::int32_t end) {
  const std::int32_t n = SpannedTokens(begin, end);
  const std::int32_t units = (n + kSpanUnit - 1) / kSpanUnit;
  const std::int32_t per_span = (units + kMaxScoreSpans - 1) / kMaxScoreSpans;
  if (units == 0) return {};
  return {per_span * kSpanUnit, (units + per_span - 1) / per_span};
}

}  // namespace keyhole::cuda
