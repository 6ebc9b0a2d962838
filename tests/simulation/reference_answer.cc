#include "tests/simulation/reference_answer.h"

#include <algorithm>
#include <optional>
#include <variant>

#include "tests/support/byte_tokenizer.h"
#include "tests/support/fake_executor.h"

namespace keyhole::testing {
namespace {

struct Match {
  std::size_t begin = 0;
  std::string stop;
};

// The first stop string to be complete at or after byte `from`, the longest of those.
std::optional<Match> FindStop(const std::string& text,
                              std::size_t from,
                              const std::vector<std::string>& stops) {
  for (std::size_t end = from + 1; end <= text.size(); ++end) {
    std::optional<Match> best;
    for (const std::string& stop : stops) {
      const bool fits =
          stop.size() <= end - from && text.compare(end - stop.size(), stop.size(), stop) == 0;
      if (fits && (!best || stop.size() > best->stop.size())) best = Match{end - stop.size(), stop};
    }
    if (best) return best;
  }
  return std::nullopt;
}

bool Contains(const std::vector<TokenId>& tokens, TokenId token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

}  // namespace

ReferenceAnswer AnswerAlone(const Request& request) {
  const StoppingParams& stopping = request.stopping;
  std::vector<TokenId> tokens = std::get<std::vector<TokenId>>(request.prompt);
  ReferenceAnswer answer;
  std::size_t unchecked = 0;  // bytes of text from before min_output_tokens
  while (true) {
    const auto n_before = static_cast<std::int32_t>(answer.token_ids.size());
    const TokenId token = HashedToken(tokens,
                                      request.sampling.seed,
                                      ByteTokenizer::kEnd,
                                      n_before < stopping.min_output_tokens,
                                      stopping.stop_token_ids);
    tokens.push_back(token);
    answer.token_ids.push_back(token);
    if (token < 256) answer.text.push_back(static_cast<char>(token));
    if (n_before < stopping.min_output_tokens) {
      unchecked = answer.text.size();
    } else if (const auto match = FindStop(answer.text, unchecked, stopping.stop)) {
      const std::size_t shown = request.output.include_stop_text ? match->stop.size() : 0;
      answer.text.resize(match->begin + shown);
      answer.reason = FinishReason::kStopSequence;
      answer.matched_stop = match->stop;
      return answer;
    } else if (Contains(stopping.stop_token_ids, token)) {
      answer.reason = FinishReason::kStopToken;
      return answer;
    } else if (token == ByteTokenizer::kEnd && !stopping.ignore_eos) {
      answer.reason = FinishReason::kEndOfSequence;
      return answer;
    }
    if (n_before + 1 == *stopping.max_output_tokens) return answer;
  }
}

}  // namespace keyhole::testing
