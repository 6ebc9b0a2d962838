// Chooses the next token from logits.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

#include "engine/request/request.h"
#include "engine/request/response_sink.h"

namespace keyhole {

struct SampleInput {
  std::span<const float> logits;    // [vocab_size], as the model gave them
  std::span<const TokenId> tokens;  // prompt and output so far
  std::int32_t prompt_len = 0;
  const SamplingParams* params = nullptr;
  std::span<const TokenId> forbidden;  // masked: end and stop tokens before min_output_tokens
  std::int32_t top_logprob_count = 0;
};

// Deterministic: the random number depends on the seed and the position alone (counter-based
// generator), so an answer does not depend on what shares the batch. Ties of the greedy choice go
// to the smaller id. Log-probabilities are those of the model: before penalties, bias, temperature
// and filters. Errors: a non-finite logit makes the result's status INTERNAL.
absl::StatusOr<TokenInfo> Sample(const SampleInput& input);

// log softmax(logits)[token] and the best `top_count` tokens.
TokenInfo ScoreToken(std::span<const float> logits, TokenId token, std::int32_t top_count);

}  // namespace keyhole
