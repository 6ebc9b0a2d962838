// How token positions enter attention: which rotation keys and queries of each part get.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/batch/model_input.h"
#include "engine/device/device.h"
#include "engine/ops/attend_rows.h"
#include "engine/selection/selection.h"

namespace at {
class Tensor;
}

namespace keyhole {

// One layer of one step. Projections are un-rotated.
struct LayerStep {
  Device* device = nullptr;
  std::int32_t layer = 0;
  const ModelInput* input = nullptr;
  const at::Tensor* q = nullptr;  // [n_tokens, n_heads, head_dim] f32
  const at::Tensor* k = nullptr;  // [n_tokens, n_kv_heads, head_dim] f32
};

// Called in this order for each layer: Rotate, then (rows appended) AppendParts for each sequence.
// Thread: executor only.
class PositionScheme {
 public:
  virtual ~PositionScheme() = default;

  // Prepares the step's queries and keys. Returns the keys in the form that pages hold
  // [n_tokens, n_kv_heads, head_dim], valid until the next call.
  virtual const float* Rotate(const LayerStep& step) = 0;

  // Appends the parts of one softmax: the rows of `selection`, then the slice's own. What they
  // point at, `selection` included, must stay until attention is done.
  virtual void AppendParts(const LayerStep& step,
                           const SequenceSlice& slice,
                           const Selection& selection,
                           std::vector<AttendPart>& parts) = 0;

  virtual void EndSequence(RequestId id) = 0;
};

}  // namespace keyhole
