#include "engine/attention/attention_settings.h"

#include <algorithm>

namespace keyhole {

SelectionSizes SizesOf(const AttentionSettings& settings, const SequenceSlice& slice) {
  SelectionSizes sizes = settings.sizes;
  if (slice.kv_len <= sizes.local) return sizes;
  const DistanceSettings& distances = settings.distances;
  if (slice.kv_len + slice.q_len <= slice.prompt_len - distances.tail) {
    sizes.local = std::min(sizes.local, settings.prefill_local);
    return sizes;
  }
  if (settings.positions == PositionMode::kRectified) {
    const Distances& tail = distances.InTail(slice);
    sizes.local = std::min(sizes.local, tail.local);
    sizes.selected = std::min(sizes.selected, tail.budget);
  }
  if (slice.request != nullptr && slice.request->selection.selected_tokens.has_value()) {
    sizes.selected =
        std::clamp(*slice.request->selection.selected_tokens, 0, settings.max_selected);
  }
  return sizes;
}

void SetQueryDistances(const DistanceSettings& settings,
                       const ModelInput& input,
                       QueryDistances& queries) {
  const std::size_t n = input.positions.size();
  queries.selected.resize(n);
  queries.initial.resize(n);
  queries.far_bias.resize(n);
  for (const SequenceSlice& slice : input.sequences) {
    const Distances& tail = settings.InTail(slice);
    const std::int32_t tail_begin = slice.prompt_len - settings.tail;
    for (std::int32_t i = 0; i < slice.q_len; ++i) {
      const bool in_tail = slice.kv_len + i >= tail_begin;
      const Distances& d = in_tail ? tail : settings.BeforeTail();
      queries.selected[slice.q_begin + i] = d.selected;
      queries.initial[slice.q_begin + i] = d.initial;
      queries.far_bias[slice.q_begin + i] = d.far_bias;
    }
  }
}

}  // namespace keyhole
