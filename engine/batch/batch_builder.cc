#include "engine/batch/batch_builder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/request/sequence_positions.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// Appends the rows of `range` of one sequence.
absl::Status AddSlice(const Sequence& sequence,
                      TokenRange range,
                      std::int32_t page_size,
                      ModelInput& input) {
  const std::int32_t end = range.begin + range.count;
  const std::int64_t capacity =
      static_cast<std::int64_t>(sequence.pages().pages().size()) * page_size;
  if (range.count < 1 || end > capacity || end > std::ssize(sequence.tokens())) {
    return absl::InternalError(absl::StrCat("request ",
                                            sequence.id(),
                                            ": tokens [",
                                            range.begin,
                                            ", ",
                                            end,
                                            ") of ",
                                            sequence.tokens().size(),
                                            " with pages for ",
                                            capacity));
  }
  SequenceSlice slice;
  slice.id = sequence.id();
  slice.q_begin = static_cast<std::int32_t>(input.token_ids.size());
  slice.q_len = range.count;
  slice.kv_len = range.begin;
  slice.prompt_len = sequence.prompt_len();
  slice.pages = sequence.pages().pages();
  slice.tokens = sequence.tokens();
  slice.sample = end >= sequence.prompt_len();
  slice.forbid_end = sequence.output_len() < sequence.request().stopping.min_output_tokens;
  slice.request = &sequence.request();
  if (const auto& wanted = sequence.request().output.prompt_logprobs) {
    const TokenRange rows = PromptLogprobRows(range, *wanted);
    slice.prompt_logprob_first = rows.begin;
    slice.prompt_logprob_count = rows.count;
  }
  for (std::int32_t position = range.begin; position < end; ++position) {
    input.token_ids.push_back(sequence.tokens()[position]);
    input.positions.push_back(position);
  }
  input.sequences.push_back(std::move(slice));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelInput> BuildModelInput(const StepPlan& plan,
                                           std::int32_t page_size,
                                           std::vector<RequestId> ended) {
  ModelInput input;
  input.ended = std::move(ended);
  for (const Sequence* sequence : plan.decode) {
    KEYHOLE_RETURN_IF_ERROR(AddSlice(*sequence, {sequence->computed_len(), 1}, page_size, input));
  }
  if (plan.prefill) {
    KEYHOLE_RETURN_IF_ERROR(
        AddSlice(*plan.prefill->sequence, plan.prefill->tokens, page_size, input));
  }
  return input;
}

}  // namespace keyhole
