#include "engine/request/stop_checker.h"

#include <algorithm>
#include <utility>

namespace keyhole {
namespace {

std::vector<std::size_t> FailureTable(std::string_view text) {
  std::vector<std::size_t> failure(text.size(), 0);
  for (std::size_t i = 1, border = 0; i < text.size(); ++i) {
    while (border > 0 && text[i] != text[border]) border = failure[border - 1];
    if (text[i] == text[border]) ++border;
    failure[i] = border;
  }
  return failure;
}

}  // namespace

bool StopChecker::Pattern::Advance(char c) {
  while (state > 0 && text[state] != c) state = failure[state - 1];
  if (text[state] == c) ++state;
  return state == text.size();
}

StopChecker::StopChecker(std::span<const std::string> stops, bool include_stop_text)
    : include_stop_text_(include_stop_text) {
  for (const std::string& stop : stops) {
    if (!stop.empty()) patterns_.push_back({.text = stop, .failure = FailureTable(stop)});
  }
  // Longest first: of the matches that end together the longest wins.
  std::stable_sort(patterns_.begin(), patterns_.end(), [](const Pattern& a, const Pattern& b) {
    return a.text.size() > b.text.size();
  });
}

std::string StopChecker::Push(std::string_view text) {
  if (matched_) return "";
  for (const char c : text) {
    held_.push_back(c);
    for (Pattern& pattern : patterns_) {
      if (pattern.Advance(c) && !matched_) matched_ = pattern.text;
    }
    if (matched_) {
      if (!include_stop_text_) held_.resize(held_.size() - matched_->size());
      return std::exchange(held_, "");
    }
  }
  std::size_t hold = 0;
  for (const Pattern& pattern : patterns_) hold = std::max(hold, pattern.state);
  std::string safe = held_.substr(0, held_.size() - hold);
  held_.erase(0, safe.size());
  return safe;
}

std::string StopChecker::PushUnchecked(std::string_view text) {
  if (matched_) return "";
  for (Pattern& pattern : patterns_) pattern.state = 0;
  return std::exchange(held_, "").append(text);
}

std::string StopChecker::Finish() { return std::exchange(held_, ""); }

std::optional<FinishReason> CheckStopToken(TokenId token,
                                           std::int32_t output_len,
                                           const StoppingParams& stopping,
                                           std::span<const TokenId> end_tokens) {
  if (output_len <= stopping.min_output_tokens) return std::nullopt;
  const auto contains = [token](const auto& tokens) {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
  };
  if (contains(stopping.stop_token_ids)) return FinishReason::kStopToken;
  if (!stopping.ignore_eos && contains(end_tokens)) return FinishReason::kEndOfSequence;
  return std::nullopt;
}

}  // namespace keyhole
