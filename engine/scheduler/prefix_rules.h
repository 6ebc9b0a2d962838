// How much of a prompt may be taken from, and given to, the prefix cache. Pure arithmetic.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/request/request.h"
#include "engine/types.h"

namespace keyhole {

// Source of the tail: attention/distances.h. The prompt's last `tail` tokens are computed with the
// request's own budget and, in rectified positions, its own profile; everything before as for all
// requests.
struct PrefixRules {
  std::int32_t chunk_size = 512;
  PositionMode positions = PositionMode::kNative;
  std::int32_t tail = 128;
  bool tail_reads_other_rows = false;  // than the same tokens in mid-prompt
  AttentionProfile default_profile = AttentionProfile::kRecall;
  AttentionProfile before_tail = AttentionProfile::kProse;
};

// The prompt's first tokens whose rows are the same for every profile and budget.
constexpr std::int32_t SharedTokens(const PrefixRules& rules,
                                    const SelectionParams& selection,
                                    std::int32_t prompt_len) {
  const bool one_profile = rules.positions == PositionMode::kNative ||
                           selection.profile.value_or(rules.default_profile) == rules.before_tail;
  const bool whole_prompt =
      one_profile && !selection.selected_tokens && !rules.tail_reads_other_rows;
  return whole_prompt ? prompt_len : std::max(0, prompt_len - rules.tail);
}

// Chunks that may be published once they are computed: full ones without a row of the request's
// own.
constexpr std::int32_t PublishableChunks(const PrefixRules& rules,
                                         const Request& request,
                                         std::int32_t prompt_len) {
  return SharedTokens(rules, request.selection, prompt_len) / rules.chunk_size;
}

// Chunks that may be taken over. The prompt's last row gives the first token and the row before a
// token gives its log-probability: these are computed.
constexpr std::int32_t ReusableChunks(const PrefixRules& rules,
                                      const Request& request,
                                      std::int32_t prompt_len) {
  std::int32_t tokens =
      std::min(SharedTokens(rules, request.selection, prompt_len), prompt_len - 1);
  const auto& scored = request.output.prompt_logprobs;
  if (scored && scored->count > 0) tokens = std::min(tokens, scored->first - 1);
  return std::max(0, tokens) / rules.chunk_size;
}

}  // namespace keyhole
