#include "engine/sampling/logit_adjustments.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace keyhole {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

class LogitEditor {
 public:
  explicit LogitEditor(std::span<const float> logits) : logits_(logits.begin(), logits.end()) {}

  // Null for an id outside the vocabulary.
  float* Find(TokenId token) {
    if (token < 0 || static_cast<std::size_t>(token) >= logits_.size()) return nullptr;
    return &logits_[token];
  }

  std::vector<float> Take() { return std::move(logits_); }

 private:
  std::vector<float> logits_;
};

void PenalizeRepetition(std::span<const TokenId> tokens, float penalty, LogitEditor& logits) {
  if (penalty == 1) return;
  std::vector<bool> seen;
  for (const TokenId token : tokens) {
    float* logit = logits.Find(token);
    if (logit == nullptr) continue;
    if (static_cast<std::size_t>(token) >= seen.size()) seen.resize(token + 1);
    if (seen[token]) continue;
    seen[token] = true;
    // A tiny penalty must not push the logit to infinity.
    *logit = std::min(*logit > 0 ? *logit / penalty : *logit * penalty, kLargest);
  }
}

void PenalizeOutput(std::span<const TokenId> output,
                    const SamplingParams& params,
                    LogitEditor& logits) {
  if (params.frequency_penalty == 0 && params.presence_penalty == 0) return;
  absl::flat_hash_map<TokenId, std::int32_t> counts;
  for (const TokenId token : output) ++counts[token];
  for (const auto& [token, count] : counts) {
    if (float* logit = logits.Find(token)) {
      *logit -= params.frequency_penalty * static_cast<float>(count) + params.presence_penalty;
    }
  }
}

}  // namespace

bool NeedsAdjustment(const SampleInput& input) {
  return input.params->has_penalties() || !input.params->logit_bias.empty() ||
         !input.forbidden.empty();
}

std::vector<float> AdjustedLogits(const SampleInput& input) {
  LogitEditor logits(input.logits);
  PenalizeRepetition(input.tokens, input.params->repetition_penalty, logits);
  PenalizeOutput(input.tokens.subspan(input.prompt_len), *input.params, logits);
  for (const LogitBias& bias : input.params->logit_bias) {
    if (float* logit = logits.Find(bias.token)) *logit += bias.bias;
  }
  for (const TokenId token : input.forbidden) {
    if (float* logit = logits.Find(token)) *logit = -std::numeric_limits<float>::infinity();
  }
  return logits.Take();
}

}  // namespace keyhole
