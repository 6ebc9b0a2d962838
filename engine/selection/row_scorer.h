// Gives each candidate row of one sequence in one layer a score.
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/row_range.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// Higher is more important; what a score means is the scorer's. Thread: executor only.
class RowScorer {
 public:
  virtual ~RowScorer() = default;

  // False: this layer does as well with initial and local rows alone.
  virtual bool Selects(std::int32_t /*layer*/) const { return true; }

  // Writes the scores of `candidates` to `scores`. Adds its times to `times`.
  virtual void Score(Device& device,
                     const SelectionContext& context,
                     RowRange candidates,
                     LayerSelection& times,
                     std::span<float> scores) = 0;

  // As SelectionPolicy::OnAppend.
  virtual void OnAppend(Device& /*device*/, std::span<const AppendContext> /*sequences*/) {}
};

}  // namespace keyhole
