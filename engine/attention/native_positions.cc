#include "engine/attention/native_positions.h"

namespace keyhole {

const float* NativePositions::Rotate(const LayerStep& step) {
  const at::Tensor& q = *step.q;
  const at::Tensor& k = *step.k;
  q_ = q_buffer_.Rows(q.size(0), q.size(1), q.size(2));
  at::Tensor rotated_k = k_buffer_.Rows(k.size(0), k.size(1), k.size(2));
  ApplyRope(*step.device, q, rope_, step.input->positions, q_);
  ApplyRope(*step.device, k, rope_, step.input->positions, rotated_k);
  return rotated_k.const_data_ptr<float>();
}

void NativePositions::AppendParts(const LayerStep&,
                                  const SequenceSlice& slice,
                                  const Selection& selection,
                                  std::vector<AttendPart>& parts) {
  const float* queries = q_.const_data_ptr<float>() + slice.q_begin * q_.stride(0);
  const std::int32_t past = slice.kv_len;
  AttendPart near = {.queries = queries,
                     .range = {selection.local.begin, past + slice.q_len},
                     .causal_from = past};
  if (selection.all_of_middle || selection.middle.empty()) {
    near.range.begin = 0;  // no gap
  } else {
    if (!selection.initial.empty()) {
      parts.push_back({.queries = queries, .range = selection.initial});
    }
    if (!selection.selected.empty()) {
      parts.push_back({.queries = queries, .rows = selection.selected});
    }
  }
  parts.push_back(near);
}

}  // namespace keyhole
