// One client call as the engine sees it: plain data, immutable after Submit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "engine/types.h"

namespace keyhole {

struct ChatMessage {
  std::string role;     // "system", "user", "assistant", or what the model's template knows
  std::string content;  // valid UTF-8
};

using ChatPrompt = std::vector<ChatMessage>;
using Prompt = std::variant<std::string, std::vector<TokenId>, ChatPrompt>;

struct LogitBias {
  TokenId token = 0;
  float bias = 0;  // added to the logit; [-100, 100]
};

// Applied in this order: penalties, bias, temperature, top_k, top_p, min_p. Temperature 0 is greedy
// and exact.
struct SamplingParams {
  float temperature = 0;   // [0, 2]
  std::int32_t top_k = 0;  // 0 = off
  float top_p = 1;         // (0, 1]
  float min_p = 0;         // [0, 1)
  float repetition_penalty =
      1;  // (0, 2]; over prompt and output tokens, as in CTRL (arXiv 1909.05858)
  float frequency_penalty = 0;  // [-2, 2]; over output tokens
  float presence_penalty = 0;   // [-2, 2]; over output tokens
  std::uint64_t seed = 0;       // the engine draws one where the client gave none
  std::vector<LogitBias> logit_bias;

  bool has_penalties() const {
    return repetition_penalty != 1 || frequency_penalty != 0 || presence_penalty != 0;
  }
};

struct StoppingParams {
  std::optional<std::int32_t>
      max_output_tokens;                     // unset: the server's default, clamped to the context
  std::int32_t min_output_tokens = 0;        // end and stop tokens cannot be produced before
  std::optional<absl::Duration> time_limit;  // from submission; ends with kTimeLimit, not an error
  std::vector<std::string> stop;             // at most 16 strings of 256 bytes
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
};

// Log-probabilities of the prompt tokens [first, first + count).
struct PromptLogprobRange {
  std::int32_t first = 0;
  std::int32_t count = 0;
};

struct OutputParams {
  bool return_token_ids = false;
  bool return_logprobs = false;        // of each output token
  std::int32_t top_logprob_count = 0;  // alternatives beside each returned log-probability; [0, 20]
  std::optional<PromptLogprobRange> prompt_logprobs;
  bool include_stop_text = false;
  bool return_selection_stats = false;
  bool report_progress = false;  // OnProgress during prefill, at most once a second
};

struct SelectionParams {
  std::optional<std::int32_t> selected_tokens;  // clamped by the server's limits
  std::optional<AttentionProfile> profile;
  bool force_full_attention = false;
};

// Bytes of text for each token, of which few need more: for bounds of what is not tokenised yet.
inline constexpr std::int64_t kTextBytesPerToken = 16;

struct Request {
  Prompt prompt = {};
  SamplingParams sampling = {};
  bool seed_given = false;
  StoppingParams stopping = {};
  OutputParams output = {};
  SelectionParams selection = {};
  std::string client_request_id = {};            // correlation only; unique while it runs
  std::string cache_scope = {};                  // salt of page identities
  std::string trace_parent = {};                 // W3C traceparent, put into log lines
  std::int32_t priority = 0;                     // larger runs first; [-10, 10]
  absl::Time deadline = absl::InfiniteFuture();  // the call's gRPC deadline
};

}  // namespace keyhole
