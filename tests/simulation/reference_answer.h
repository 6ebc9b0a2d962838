// What a request must answer, worked out word for word from the API's rules: an oracle that shares
// no code with scheduling, stop matching or streaming.
#pragma once

#include <string>
#include <vector>

#include "engine/request/request.h"
#include "engine/types.h"

namespace keyhole::testing {

struct ReferenceAnswer {
  std::vector<TokenId> token_ids;
  std::string text;
  FinishReason reason = FinishReason::kMaxOutputTokens;
  std::string matched_stop;
};

// REQUIRES: token ids as prompt, max_output_tokens set; answers by HashedToken.
ReferenceAnswer AnswerAlone(const Request& request);

}  // namespace keyhole::testing
