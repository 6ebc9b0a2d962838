// Chooses the rows that one sequence attends to in one layer of one step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/device/device.h"
#include "engine/ops/score_rows.h"
#include "engine/selection/digest_maps.h"
#include "engine/selection/selection.h"
#include "engine/telemetry/selection_stats.h"
#include "engine/types.h"

namespace keyhole {

// How much of the middle a policy may choose.
enum class MiddleRule {
  kNothing,
  kBudget,      // at most SelectionSizes::selected rows; all of them where the budget covers them
  kEverything,  // what is attended grows with the sequence: native positions only
};

struct PolicyTraits {
  std::string_view name;
  MiddleRule middle = MiddleRule::kBudget;
  std::optional<DigestForm> digests = std::nullopt;  // compressed keys that it scores
  ScoreRule score = ScoreRule::kVote;                // what it makes of their products
  bool coarse_to_fine = false;                       // uses their coarse copies
  std::int32_t default_selected = 512;
  std::int32_t default_proximity = 8;
};

// What a policy may look at.
struct SelectionContext {
  RequestId id = 0;
  std::int32_t layer = 0;
  std::int32_t past = 0;  // tokens before the current chunk
  std::int32_t q_len = 0;
  std::int32_t n_heads = 0;
  std::int32_t head_dim = 0;
  const float* queries = nullptr;       // [q_len, n_heads, head_dim], un-rotated
  SelectionSizes sizes;                 // after the request's own wishes were clamped
  std::span<const PageId> pages = {};   // page table of the sequence
  StepSelectionStats* stats = nullptr;  // of the step, to add to; null: nobody asks
};

// New rows of one sequence in one layer.
struct AppendContext {
  RequestId id = 0;
  std::int32_t layer = 0;
  std::int32_t first = 0;  // row of the first token
  std::int32_t n_tokens = 0;
  const float* keys = nullptr;  // [n_tokens, n_kv_heads, head_dim], un-rotated
  std::span<const PageId> pages = {};
};

// Returns rows; moves no bytes, allocates no pages, knows nothing of attention. Ties go to the
// smaller row; the same inputs give the same rows whatever shares the batch.
// Thread: executor only.
class SelectionPolicy {
 public:
  virtual ~SelectionPolicy() = default;
  virtual PolicyTraits traits() const = 0;

  // Errors: INTERNAL, which fails this sequence; there is no silent switch to another policy.
  virtual absl::StatusOr<Selection> Select(Device& device, const SelectionContext& context) = 0;

  // The same for several sequences of a step in one layer; `out` is parallel to them. Where it
  // holds earlier selections, their memory may be used again.
  virtual void SelectEach(Device& device,
                          std::span<const SelectionContext> contexts,
                          std::span<absl::StatusOr<Selection>> out) {
    for (std::size_t i = 0; i < contexts.size(); ++i) out[i] = Select(device, contexts[i]);
  }

  // Rows are about to be appended: keep what later selections need of their keys, by page, so that
  // sequences that share a page share it too.
  virtual void OnAppend(Device& /*device*/, std::span<const AppendContext> /*sequences*/) {}

  // The sequence will not come again: drop what is kept for it. Unknown ids are ignored.
  virtual void OnSequenceEnd(RequestId id) = 0;
};

}  // namespace keyhole
