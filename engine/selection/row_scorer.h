// Gives each candidate row of one sequence in one layer a score.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/digest_layout.h"
#include "engine/kv/row_range.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// The rows to score: all of `rows`, or with some blocks of 16 rows, by number and ascending, those
// that stand at the places `rows` of these blocks in a row.
struct Candidates {
  RowRange rows;
  std::span<const std::int32_t> blocks = {};

  // At a place of `rows`.
  std::int32_t RowAt(std::int32_t place) const {
    if (blocks.empty()) return place;
    return blocks[place / kDigestBlockTokens] * kDigestBlockTokens + place % kDigestBlockTokens;
  }
};

// Higher is more important; what a score means is the scorer's. Thread: one at a time.
class RowScorer {
 public:
  virtual ~RowScorer() = default;

  // Another one that gives the same scores, for another thread.
  virtual std::unique_ptr<RowScorer> Clone() const = 0;

  // False: this layer does as well with initial and local rows alone.
  virtual bool Selects(std::int32_t /*layer*/) const { return true; }

  // Looks at the chunk's queries, and says which of the middle's rows are worth scoring; blocks are
  // valid until the next call.
  virtual Candidates Prepare(Device& /*device*/,
                             const SelectionContext& /*context*/,
                             RowRange middle,
                             LayerSelection& /*times*/) {
    return {middle};
  }

  // Writes the scores of `candidates`, in their order, to `scores`. Adds its times to `times`.
  // REQUIRES: the context is that of the last Prepare.
  virtual void Score(Device& device,
                     const SelectionContext& context,
                     const Candidates& candidates,
                     LayerSelection& times,
                     std::span<float> scores) = 0;

  // As SelectionPolicy::OnAppend.
  virtual void OnAppend(Device& /*device*/, std::span<const AppendContext> /*sequences*/) {}
};

}  // namespace keyhole
