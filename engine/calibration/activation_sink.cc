#include "engine/calibration/activation_sink.h"

namespace keyhole {

absl::StatusOr<Selection> RecordingPolicy::Select(Device& device, const SelectionContext& context) {
  const ActivationRows queries = {.layer = context.layer,
                                  .token = tap_->first_token + context.past,
                                  .n_tokens = context.q_len,
                                  .rows = context.queries};
  for (ActivationSink* sink : tap_->sinks) sink->OnQueries(device, queries);
  Selection selection = Partition(context.past, context.sizes);
  selection.all_of_middle = true;
  return selection;
}

void RecordingPolicy::OnAppend(Device& device, std::span<const AppendContext> sequences) {
  for (const AppendContext& sequence : sequences) {
    const ActivationRows keys = {.layer = sequence.layer,
                                 .token = tap_->first_token + sequence.first,
                                 .n_tokens = sequence.n_tokens,
                                 .rows = sequence.keys};
    for (ActivationSink* sink : tap_->sinks) sink->OnKeys(device, keys);
  }
}

}  // namespace keyhole
