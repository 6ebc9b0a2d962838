// Every key and query at its true position.
#pragma once

#include "engine/attention/position_scheme.h"
#include "engine/attention/row_buffer.h"
#include "engine/ops/rope.h"

namespace keyhole {

class NativePositions final : public PositionScheme {
 public:
  // `rope` must cover every position and outlive this object.
  explicit NativePositions(RopeRows rope) : rope_(rope) {}

  const float* Rotate(const LayerStep& step) override;

  // Neighbouring runs of rows become one range, so that full attention is a single part.
  void AppendParts(const LayerStep& step,
                   const SequenceSlice& slice,
                   const Selection& selection,
                   std::vector<AttendPart>& parts) override;

  void EndSequence(RequestId) override {}

 private:
  RopeRows rope_;
  RowBuffer q_buffer_;
  RowBuffer k_buffer_;
  at::Tensor q_;  // rotated
};

}  // namespace keyhole
