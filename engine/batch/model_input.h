// What one step of the model computes: packed tokens and, per sequence, where its rows live.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request/request.h"
#include "engine/request/response_sink.h"
#include "engine/telemetry/selection_stats.h"
#include "engine/types.h"

namespace keyhole {

// The part of a step that belongs to one sequence. Spans stay valid until the step's result is
// taken.
struct SequenceSlice {
  RequestId id = 0;
  std::int32_t q_begin = 0;  // first row in the packed arrays
  std::int32_t q_len =
      0;  // tokens computed in this step: 1 in decode, at most chunk_size in prefill
  std::int32_t kv_len = 0;          // tokens before this slice that are already in pages
  std::int32_t prompt_len = 0;      // tokens of the whole prompt
  std::span<const PageId> pages;    // page table, covers at least kv_len + q_len tokens
  std::span<const TokenId> tokens;  // all of the prompt and the output so far, also in mid-prefill:
                                    // the target of a chunk's last row is in the next chunk
  bool sample = false;              // sample after the slice's last token
  bool forbid_end = false;          // min_output_tokens not reached: end and stop tokens are masked
  const Request* request = nullptr;  // sampling, output, stopping and selection parameters
  std::int32_t prompt_logprob_first =
      0;  // rows of this slice (relative to q_begin) whose next-token
  std::int32_t prompt_logprob_count = 0;  // log-probability is asked for
};

struct ModelInput {
  std::vector<TokenId> token_ids;        // [n_tokens]
  std::vector<std::int32_t> positions;   // [n_tokens], absolute
  std::vector<SequenceSlice> sequences;  // ascending q_begin, no gaps; decode before chunks
  std::vector<RequestId> ended;          // will not come again: their state goes, before all else
};

// Wall time of the parts of one step, summed over layers.
struct StepTimings {
  double total_seconds = 0;
  double linear_seconds = 0;
  double attention_seconds = 0;
  double selection_seconds = 0;
  double sampling_seconds = 0;
};

struct SequenceResult {
  RequestId id = 0;
  absl::Status status;  // not OK: this sequence alone fails
  bool sampled = false;
  TokenInfo token;  // valid if sampled; chosen.logprob always filled
  std::vector<TokenInfo>
      prompt_logprobs;  // prompt_logprob_count entries: log p(token i+1 | tokens up to i)
  std::int64_t selected_rows = 0;  // middle rows attended, summed over layers
};

struct StepResult {
  std::vector<SequenceResult> sequences;  // parallel to ModelInput::sequences
  StepTimings timings;
  StepSelectionStats selection;
  std::uint64_t selection_hash = 0;  // of the rows of all layers; 0 with one rank: nobody compares
};

}  // namespace keyhole
