// Sizes and distances of a server's attention, and what a slice of a sequence makes of them.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/attention/distances.h"
#include "engine/batch/model_input.h"
#include "engine/selection/selection.h"
#include "engine/types.h"

namespace keyhole {

struct AttentionSettings {
  PositionMode positions = PositionMode::kNative;
  SelectionSizes sizes = {};
  // Local rows of chunks that end before the prompt's tail, once more than sizes.local rows precede
  // them. As `distances.local` for the tail and decode, where positions are rectified.
  std::int32_t prefill_local = 4096;
  std::int32_t max_selected = 8192;  // a request's own budget is clamped to this
  DistanceSettings distances = {};   // rectified positions only

  // Newest rows of a sequence whose keys are kept rotated beside its pages: the local ones and a
  // chunk, where positions are rectified.
  std::int32_t window_rows() const {
    return positions == PositionMode::kRectified ? sizes.local + distances.chunk_size : 0;
  }
};

// What the slice's place and its request make of the server's sizes. Where all that precedes it is
// local they stay as they are; before the tail they are those of every request.
SelectionSizes SizesOf(const AttentionSettings& settings, const SequenceSlice& slice);

// Where each query of a step is turned to in rectified positions, [n_tokens] each.
struct QueryDistances {
  std::vector<std::int32_t> selected;
  std::vector<std::int32_t> initial;
  std::vector<float> far_bias;
};

// Refills `queries`.
void SetQueryDistances(const DistanceSettings& settings,
                       const ModelInput& input,
                       QueryDistances& queries);

}  // namespace keyhole
