// The default model along the golden continuations, and how two runs of it compare.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/types.h"
#include "tests/support/golden_file.h"
#include "tests/support/model_runner.h"

namespace keyhole {

// One prompt and what the reference program computed for it. Spans point into a GoldenFile.
struct GoldenPrompt {
  std::span<const TokenId> ids;
  std::span<const TokenId> greedy;          // [n_steps]: the reference's answer
  std::span<const float> column_logits;     // [n_steps, columns]: at some fixed tokens
  std::span<const std::int32_t> top_ids;    // [n_steps, n_top], best first
  std::span<const float> top_logits;        // [n_steps, n_top]
  std::span<const float> max_abs;           // [n_steps]: largest magnitude of any logit
  std::span<const std::int32_t> llama_ids;  // [n_steps, n_top]: llama.cpp's best tokens
  std::span<const float> llama_log_probs;   // [n_steps, n_top]
};

struct Goldens {
  static absl::StatusOr<Goldens> Open();

  GoldenFile reference;
  GoldenFile llama_cpp;
  std::span<const std::int32_t> columns;
  std::vector<GoldenPrompt> prompts;
};

// Logits of one step: those after prompt `prompt` and the first `step` tokens of its answer.
struct GoldenStep {
  std::size_t prompt = 0;
  std::size_t step = 0;
  std::span<const float> logits;  // [vocab_size]
};

// Prefills each prompt, then decodes all of them together along the reference's answers.
absl::Status RunGoldens(ModelRunner& runner,
                        const Goldens& goldens,
                        absl::FunctionRef<void(const GoldenStep&)> visit);

// max |difference| over the golden's stored logits, relative to the largest logit.
double RelativeError(const Goldens& goldens, const GoldenStep& step);

// KL(softmax(p) || softmax(q)).
double KlDivergence(std::span<const float> p, std::span<const float> q);

// KL of llama.cpp's distribution from ours, both over its best tokens and one class for all others.
double KlFromLlamaCpp(const Goldens& goldens, const GoldenStep& step);

TokenId BestToken(std::span<const float> logits);

}  // namespace keyhole
