// The mutable state of one running request.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "engine/kv/page_table.h"
#include "engine/request/request.h"
#include "engine/request/request_limits.h"
#include "engine/request/response_sink.h"
#include "engine/request/sequence_positions.h"
#include "engine/types.h"

namespace keyhole {

enum class SequencePhase {
  kWaiting,  // admitted to the queue: has no pages
  kPrefill,  // has all its pages; part of the prompt is still to be computed
  kDecode,   // one token a step
  kEnded,    // out of planning; pages stay until no submitted step refers to them
};

// What selection did for a sequence, summed over its steps and the layers.
struct SelectionTally {
  std::int64_t steps = 0;
  std::int64_t rows = 0;  // middle rows attended
  double seconds = 0;     // of the steps it took part in
};

// Lengths: computed_len() tokens have rows in pages; tokens() are the prompt and the output so far.
// In decode exactly the last token is not computed yet.
// Owner: text worker until it is handed to the engine thread, then the step loop.
class Sequence {
 public:
  // `request.prompt` is not read again and may be cleared by the caller.
  Sequence(RequestId id, Request request, std::vector<TokenId> prompt, OutputBudget budget);
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  RequestId id() const { return id_; }
  const Request& request() const { return request_; }
  std::span<const TokenId> tokens() const { return tokens_; }
  std::int32_t prompt_len() const { return prompt_len_; }
  std::int32_t output_len() const {
    return static_cast<std::int32_t>(tokens_.size()) - prompt_len_;
  }
  std::int32_t computed_len() const { return computed_len_; }
  std::int32_t prompt_left() const { return std::max(0, prompt_len_ - computed_len_); }
  std::int32_t max_len() const { return prompt_len_ + budget_.max_output; }  // pages are for these
  SequencePhase phase() const { return phase_; }

  // kWaiting -> kPrefill, with pages for max_len() tokens; the first `computed_len`, not all of the
  // prompt, are in them already.
  void Start(PageTable pages, std::int32_t computed_len = 0);
  const PageTable& pages() const { return pages_; }

  // Prompt rows [computed_len, + count) are in pages.
  void CommitPrefill(std::int32_t count, std::vector<TokenInfo> prompt_logprobs);

  // Takes a sampled token; in decode the row of the token before is in pages now.
  // Returns why the answer ends here, or nothing.
  std::optional<FinishReason> CommitToken(TokenId token, std::span<const TokenId> end_tokens);

  // Log-probabilities gathered over the chunks; the caller gets them once.
  std::vector<TokenInfo> TakePromptLogprobs() { return std::move(prompt_logprobs_); }

  // Out of planning. The pages go with ReleasePages.
  void End() { phase_ = SequencePhase::kEnded; }
  void ReleasePages() { pages_ = PageTable(); }

  // Bookkeeping of the step loop.
  absl::Time submitted;
  std::chrono::steady_clock::time_point last_progress;
  bool in_flight = false;      // a submitted step refers to the pages
  bool reached_model = false;  // the executor may keep state for it
  SelectionTally selection;

 private:
  RequestId id_;
  Request request_;
  std::vector<TokenId> tokens_;  // never reallocated: spans of it travel with a step
  std::int32_t prompt_len_;
  OutputBudget budget_;
  std::int32_t computed_len_ = 0;
  SequencePhase phase_ = SequencePhase::kWaiting;
  PageTable pages_;
  std::vector<TokenInfo> prompt_logprobs_;
};

}  // namespace keyhole
