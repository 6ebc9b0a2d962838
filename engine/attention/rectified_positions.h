// Near rows at their true distances, far rows at fixed ones: for sequences beyond the trained
// length. Sources: ESA (arXiv 2502.14477), InfLLM (arXiv 2402.04617).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/attention/attention_settings.h"
#include "engine/attention/position_scheme.h"
#include "engine/attention/row_buffer.h"
#include "engine/kv/window_cache.h"
#include "engine/ops/rope.h"

namespace keyhole {

// Pages hold un-rotated keys. A query is turned to the distance of the far part it reads; the local
// part and the chunk read their keys from a window that holds them rotated, values from the pages.
class RectifiedPositions final : public PositionScheme {
 public:
  // `rope` covers every position and distance. `rope` and `store` outlive this object. REQUIRES:
  // settings for rectified positions.
  RectifiedPositions(const AttentionSettings& settings, RopeRows rope, const HostStore* store);

  const float* Rotate(const LayerStep& step) override;
  void AppendParts(const LayerStep& step,
                   const SequenceSlice& slice,
                   const Selection& selection,
                   std::vector<AttendPart>& parts) override;
  void EndSequence(RequestId id) override { windows_.Close(id); }

  const WindowCache& windows() const { return windows_; }

 private:
  // One rotation of all queries of a step.
  struct Queries {
    RowBuffer buffer;
    at::Tensor rotated;
    const float* At(std::int32_t row) const;
  };

  void Turn(const LayerStep& step, std::span<const std::int32_t> index, Queries& queries);
  KeyRing FillWindow(const LayerStep& step, const SequenceSlice& slice, RowRange near);

  DistanceSettings distances_;
  std::int32_t local_;
  RopeRows rope_;
  const HostStore* store_;
  WindowCache windows_;

  QueryDistances query_distances_;  // of the step
  Queries near_;
  Queries selected_;
  Queries initial_;
};

}  // namespace keyhole
