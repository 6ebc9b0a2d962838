#include "engine/attention/rectified_positions.h"

#include <algorithm>

#include "engine/ops/rope.h"
#include "engine/ops/rotate_keys.h"
#include "engine/ops/tensor_check.h"

namespace keyhole {

const float* RectifiedPositions::Queries::At(std::int32_t row) const {
  return rotated.const_data_ptr<float>() + row * rotated.stride(0);
}

RectifiedPositions::RectifiedPositions(const AttentionSettings& settings,
                                       RopeRows rope,
                                       const HostStore* store)
    : distances_(settings.distances),
      local_(settings.sizes.local),
      rope_(rope),
      store_(store),
      windows_(store->layout(), settings.window_rows()) {}

void RectifiedPositions::Turn(const LayerStep& step,
                              std::span<const std::int32_t> index,
                              Queries& queries) {
  const TraceSpan span(step.device->trace(), "rope");
  const at::Tensor& q = *step.q;
  queries.rotated = queries.buffer.Rows(q.size(0), q.size(1), q.size(2));
  ApplyRope(*step.device, q, rope_, index, queries.rotated);
}

const float* RectifiedPositions::Rotate(const LayerStep& step) {
  Turn(step, step.input->positions, near_);
  const std::vector<SequenceSlice>& slices = step.input->sequences;
  if (std::any_of(slices.begin(), slices.end(), [this](const SequenceSlice& slice) {
        return slice.kv_len > local_;
      })) {
    SetQueryDistances(distances_, *step.input, query_distances_);
    Turn(step, query_distances_.selected, selected_);
    Turn(step, query_distances_.initial, initial_);
  }
  return step.k->const_data_ptr<float>();
}

KeyRing RectifiedPositions::FillWindow(const LayerStep& step,
                                       const SequenceSlice& slice,
                                       RowRange near) {
  CheckOp(near.size() <= windows_.capacity(),
          "RectifiedPositions",
          "a chunk is larger than the chunk size");
  KeyWindow& window = windows_.Open(slice.id);
  const KeyRing ring = window.Ring(step.layer);
  RotateKeys(*step.device,
             {.store = store_,
              .layer = step.layer,
              .pages = slice.pages,
              .rows = window.Advance(step.layer, near, slice.kv_len),
              .table = rope_,
              .ring = ring});
  return ring;
}

void RectifiedPositions::AppendParts(const LayerStep& step,
                                     const SequenceSlice& slice,
                                     const Selection& selection,
                                     std::vector<AttendPart>& parts) {
  const std::int32_t past = slice.kv_len;
  // Rotated queries carry YaRN's attention factor, the far keys do not.
  const float far_scale = rope_.attention_factor;
  if (!selection.initial.empty()) {
    parts.push_back(
        {.queries = initial_.At(slice.q_begin), .range = selection.initial, .scale = far_scale});
  }
  const RowRange near = {selection.local.begin, past + slice.q_len};
  parts.push_back({.queries = near_.At(slice.q_begin),
                   .range = near,
                   .causal_from = past,
                   .keys = FillWindow(step, slice, near)});
  if (selection.n_selected() > 0) {
    parts.push_back({.queries = selected_.At(slice.q_begin),
                     .range = selection.all_of_middle ? selection.middle : RowRange{},
                     .rows = selection.selected,
                     .bias = query_distances_.far_bias.data() + slice.q_begin,
                     .scale = far_scale});
  }
}

}  // namespace keyhole
