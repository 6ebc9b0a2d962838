// Where the events of one request go. Implemented by server/ and by tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/types.h"

namespace keyhole {

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

struct TokenInfo {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // top_logprob_count entries, best first
};

// Sent once, after admission: everything that a refused call never sees.
struct StartedEvent {
  RequestId request_id = 0;
  std::int32_t prompt_tokens = 0;
  std::int32_t cached_prompt_tokens = 0;
  std::uint64_t seed = 0;
};

struct ProgressEvent {
  std::int32_t done_tokens = 0;
  std::int32_t total_tokens = 0;
};

// A piece of the answer: whole UTF-8 characters, never text that might still become part of a stop
// string.
struct ChunkEvent {
  std::string text;
  std::vector<TokenId> token_ids;          // of this chunk, if asked for
  std::vector<TokenInfo> logprobs;         // parallel to token_ids, if asked for
  std::vector<TokenInfo> prompt_logprobs;  // first chunk only, if asked for
};

struct SelectionStats {
  std::int64_t steps = 0;
  double mean_selected_tokens = 0;
  absl::Duration selection_time = absl::ZeroDuration();
};

struct FinishedEvent {
  FinishReason reason = FinishReason::kEndOfSequence;
  std::string matched_stop;
  std::int32_t prompt_tokens = 0;
  std::int32_t cached_prompt_tokens = 0;
  std::int32_t output_tokens = 0;
  absl::Duration queue_time;
  absl::Duration prefill_time;
  absl::Duration decode_time;
  std::optional<SelectionStats> selection;
};

// Order: OnStarted, any OnProgress and OnChunk, then exactly one of OnFinished and OnFailed.
// A refused or early-cancelled request gets OnFailed alone.
// Thread: called on a text worker, never on two at once; must not block.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  virtual void OnStarted(const StartedEvent& event) = 0;
  virtual void OnProgress(const ProgressEvent& event) = 0;
  virtual void OnChunk(ChunkEvent event) = 0;
  virtual void OnFinished(const FinishedEvent& event) = 0;
  virtual void OnFailed(const absl::Status& status) = 0;
};

}  // namespace keyhole
