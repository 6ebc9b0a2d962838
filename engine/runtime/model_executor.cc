#include "engine/runtime/model_executor.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstddef>
#include <exception>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/sampling/sampler.h"
#include "engine/scoped_timer.h"
#include "engine/status_macros.h"

namespace keyhole {

// What one row of logits is for.
struct ModelExecutor::LogitRow {
  std::size_t sequence = 0;    // index in ModelInput::sequences
  std::int32_t position = -1;  // of a prompt token to score, or -1: sample
};

ModelExecutor::ModelExecutor(std::unique_ptr<Model> model,
                             Device* device,
                             std::vector<TokenId> end_tokens)
    : model_(std::move(model)), device_(device), end_tokens_(std::move(end_tokens)) {
  at::set_num_threads(1);
}

absl::StatusOr<StepResult> ModelExecutor::Run(const ModelInput& input) {
  try {
    return RunModel(input);
  } catch (const std::exception& error) {
    // For the log: a client gets a fixed text.
    return absl::InternalError(absl::StrCat("a step of the model failed: ", error.what()));
  }
}

absl::StatusOr<StepResult> ModelExecutor::RunModel(const ModelInput& input) {
  const c10::InferenceMode no_gradients;
  StepResult result;
  double total_seconds = 0;
  {
    const ScopedTimer timer(&total_seconds);
    const TraceSpan span(device_->trace(), "step", std::ssize(input.token_ids));
    for (const SequenceSlice& slice : input.sequences) {
      result.sequences.emplace_back().id = slice.id;
    }
    KEYHOLE_ASSIGN_OR_RETURN(const at::Tensor logits, model_->Forward(input, result));
    if (logits.size(0) > 0) ReadLogits(input, logits.const_data_ptr<float>(), result);
  }
  result.timings.total_seconds = total_seconds;
  return result;
}

void ModelExecutor::ReadLogits(const ModelInput& input, const float* logits, StepResult& result) {
  const ScopedTimer timer(&result.timings.sampling_seconds);
  const TraceSpan span(device_->trace(), "sample");
  std::vector<LogitRow> rows;
  for (std::size_t i = 0; i < input.sequences.size(); ++i) {
    const SequenceSlice& slice = input.sequences[i];
    const std::int32_t first = slice.kv_len + slice.prompt_logprob_first + 1;
    for (std::int32_t k = 0; k < slice.prompt_logprob_count; ++k) rows.push_back({i, first + k});
    if (slice.sample) rows.push_back({i, -1});
  }
  const auto vocab_size = static_cast<std::size_t>(model_->config().vocab_size);
  std::vector<absl::StatusOr<TokenInfo>> infos(rows.size());
  device_->pool().ParallelFor(static_cast<std::int64_t>(rows.size()), [&](std::int64_t i) {
    const std::span row_logits(logits + i * vocab_size, vocab_size);
    infos[i] = ReadRow(input.sequences[rows[i].sequence], rows[i], row_logits);
  });
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SequenceResult& sequence = result.sequences[rows[i].sequence];
    sequence.status.Update(infos[i].status());
    if (!sequence.status.ok()) continue;
    if (rows[i].position < 0) {
      sequence.sampled = true;
      sequence.token = *std::move(infos[i]);
    } else {
      sequence.prompt_logprobs.push_back(*std::move(infos[i]));
    }
  }
}

absl::StatusOr<TokenInfo> ModelExecutor::ReadRow(const SequenceSlice& slice,
                                                 const LogitRow& row,
                                                 std::span<const float> logits) const {
  const OutputParams& output = slice.request->output;
  if (row.position >= 0) {
    TokenInfo info = ScoreToken(logits, slice.tokens[row.position], output.top_logprob_count);
    if (std::isfinite(info.chosen.logprob)) return info;
    return absl::InternalError("the model produced a non-finite logit");
  }
  std::vector<TokenId> forbidden;
  if (slice.forbid_end) {
    forbidden = end_tokens_;
    const std::vector<TokenId>& stop = slice.request->stopping.stop_token_ids;
    forbidden.insert(forbidden.end(), stop.begin(), stop.end());
  }
  SampleInput sample;
  sample.logits = logits;
  sample.tokens = slice.tokens;
  sample.prompt_len = slice.prompt_len;
  sample.params = &slice.request->sampling;
  sample.forbidden = forbidden;
  sample.top_logprob_count = output.return_logprobs ? output.top_logprob_count : 0;
  return Sample(sample);
}

}  // namespace keyhole
