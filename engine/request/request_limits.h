// What a request may ask of this engine: checked once its prompt is tokenised.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/request.h"

namespace keyhole {

// Counts are tokens.
struct RequestLimits {
  std::int32_t vocab_size = 0;
  std::int32_t max_context = 0;  // prompt and output
  std::int32_t max_output = 0;
  std::int32_t default_max_output = 0;
  std::int32_t max_prompt_logprobs = 0;
  std::int32_t kv_capacity = 0;  // all pages together
};

// How many tokens the answer may have, and why no more.
struct OutputBudget {
  std::int32_t max_output = 0;
  FinishReason when_reached = FinishReason::kMaxOutputTokens;
};

// Every id is below `vocab_size`. Errors: INVALID_ARGUMENT with INVALID_PARAMETER for `field`.
absl::Status CheckTokenIds(std::span<const TokenId> tokens,
                           std::int32_t vocab_size,
                           std::string_view field);

// A prompt has 1 to `max_prompt` tokens. Errors: INVALID_ARGUMENT with INVALID_PARAMETER or
// PROMPT_TOO_LONG.
absl::Status CheckPromptLength(std::int64_t prompt_len, std::int32_t max_prompt);

// Checks ids against the vocabulary and lengths against the context.
// Errors: INVALID_ARGUMENT with INVALID_PARAMETER (field named), PROMPT_TOO_LONG or
// OUTPUT_BUDGET_TOO_LONG.
absl::Status CheckRequest(const Request& request,
                          std::span<const TokenId> prompt,
                          const RequestLimits& limits);

// The answer's length: as asked for; or the server's default, less where the context or the KV
// pages leave less room. REQUIRES: CheckRequest passed.
OutputBudget ResolveOutputBudget(const StoppingParams& stopping,
                                 std::int32_t prompt_len,
                                 const RequestLimits& limits);

}  // namespace keyhole
