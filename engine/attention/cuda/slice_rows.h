// Which rows each sequence of a step reads, as far as the host can tell: how many are chosen of the
// middle, not which. Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/attention/attention_settings.h"
#include "engine/batch/model_input.h"
#include "engine/kv/row_range.h"
#include "engine/ops/cuda/score_rows.h"
#include "engine/selection/selection_policy.h"

namespace keyhole::cuda {

// What a policy's name comes to where the device selects.
struct DeviceSelection {
  MiddleRule middle = MiddleRule::kBudget;
  ScoreRule score = ScoreRule::kVote;
  std::int32_t query_distance = 0;  // see PolicyParts, as for the next three
  std::int32_t proximity = 0;
  std::int32_t probes = 0;
  std::int32_t single_queries = 0;
};

enum class Choice {
  kNone,    // no row of the middle
  kAll,     // every row of it, in every layer
  kScored,  // the best of them, in layers that select; none in the others
};

struct SliceRows {
  const SequenceSlice* slice = nullptr;
  std::int32_t index = 0;  // in the step
  RowRange initial = {};
  RowRange middle = {};
  RowRange near = {};  // local rows and the slice's own
  Choice choice = Choice::kNone;
  std::int32_t n_chosen = 0;

  bool operator==(const SliceRows&) const = default;
};

// `can_score`: there are digests. As SelectiveAttention with StagedPolicy chooses them.
SliceRows RowsOf(const AttentionSettings& settings,
                 const DeviceSelection& selection,
                 bool can_score,
                 const SequenceSlice& slice);

// Appends the pages that hold these rows of the slice's table.
void AppendPages(const SequenceSlice& slice,
                 RowRange rows,
                 std::int32_t page_size,
                 std::vector<PageId>& pages);

}  // namespace keyhole::cuda
