#include "engine/request/sequence.h"

#include <iterator>
#include <utility>

#include "engine/request/stop_checker.h"

namespace keyhole {

Sequence::Sequence(RequestId id, Request request, std::vector<TokenId> prompt, OutputBudget budget)
    : id_(id),
      request_(std::move(request)),
      tokens_(std::move(prompt)),
      prompt_len_(static_cast<std::int32_t>(tokens_.size())),
      budget_(budget) {
  tokens_.reserve(static_cast<std::size_t>(max_len()));
}

void Sequence::Start(PageTable pages, std::int32_t computed_len) {
  pages_ = std::move(pages);
  computed_len_ = computed_len;
  phase_ = SequencePhase::kPrefill;
}

void Sequence::CommitPrefill(std::int32_t count, std::vector<TokenInfo> prompt_logprobs) {
  computed_len_ += count;
  prompt_logprobs_.insert(prompt_logprobs_.end(),
                          std::make_move_iterator(prompt_logprobs.begin()),
                          std::make_move_iterator(prompt_logprobs.end()));
  if (computed_len_ == prompt_len_) phase_ = SequencePhase::kDecode;
}

std::optional<FinishReason> Sequence::CommitToken(TokenId token,
                                                  std::span<const TokenId> end_tokens) {
  computed_len_ = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
  if (auto reason = CheckStopToken(token, output_len(), request_.stopping, end_tokens)) {
    return reason;
  }
  if (output_len() >= budget_.max_output) return budget_.when_reached;
  return std::nullopt;
}

}  // namespace keyhole
