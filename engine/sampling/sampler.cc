#include "engine/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "engine/sampling/candidates.h"
#include "engine/sampling/logit_adjustments.h"
#include "engine/sampling/philox.h"
#include "engine/sampling/softmax.h"

namespace keyhole {
namespace {

TokenId Argmax(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// The best `count` tokens, best first; of equal logits the smaller id first.
std::vector<TokenLogprob> TopTokens(std::span<const float> logits,
                                    std::int32_t count,
                                    double log_sum_exp) {
  const std::size_t limit = std::min<std::size_t>(std::max(count, 0), logits.size());
  std::vector<TokenId> best;  // ids, best first
  for (std::size_t i = 0; limit > 0 && i < logits.size(); ++i) {
    if (best.size() == limit && logits[i] <= logits[best.back()]) continue;
    if (best.size() == limit) best.pop_back();
    const auto place =
        std::upper_bound(best.begin(), best.end(), logits[i], [&](float logit, TokenId id) {
          return logit > logits[id];
        });
    best.insert(place, static_cast<TokenId>(i));
  }
  std::vector<TokenLogprob> result;
  result.reserve(best.size());
  for (const TokenId id : best)
    result.push_back({id, static_cast<float>(logits[id] - log_sum_exp)});
  return result;
}

TokenInfo Describe(std::span<const float> logits,
                   TokenId token,
                   std::int32_t top_count,
                   double log_sum_exp) {
  TokenInfo info;
  info.chosen = {token, static_cast<float>(logits[token] - log_sum_exp)};
  info.top = TopTokens(logits, top_count, log_sum_exp);
  return info;
}

TokenId Choose(std::span<const float> logits, const SampleInput& input) {
  const SamplingParams& params = *input.params;
  const TokenId best = Argmax(logits);
  if (params.temperature <= 0) return best;
  std::vector<float> weights(logits.size());
  const double sum = ExpWeights(logits, logits[best], 1.0 / params.temperature, weights);
  const std::vector<Candidate> candidates = FilterCandidates(weights, sum, params);
  return PickCandidate(candidates, UniformAt(params.seed, input.tokens.size()));
}

}  // namespace

absl::StatusOr<TokenInfo> Sample(const SampleInput& input) {
  const double log_sum_exp = LogSumExp(input.logits);
  if (std::isnan(log_sum_exp)) return absl::InternalError("the model produced a non-finite logit");
  TokenId token = 0;
  if (NeedsAdjustment(input)) {
    const std::vector<float> adjusted = AdjustedLogits(input);
    token = Choose(adjusted, input);
  } else {
    token = Choose(input.logits, input);
  }
  return Describe(input.logits, token, input.top_logprob_count, log_sum_exp);
}

TokenInfo ScoreToken(std::span<const float> logits, TokenId token, std::int32_t top_count) {
  return Describe(logits, token, top_count, LogSumExp(logits));
}

}  // namespace keyhole
