// Chooses the rows that one sequence attends to in one layer of one step.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/selection/selection.h"
#include "engine/types.h"

namespace at {
class Tensor;
}

namespace keyhole {

struct PolicyTraits {
  std::string_view name;
  bool needs_digests = false;  // compressed keys are written at append
  bool needs_window = true;    // positions can be rectified: the policy bounds what is attended
};

// What a policy may look at. Queries are un-rotated.
struct SelectionContext {
  RequestId id = 0;
  std::int32_t layer = 0;
  std::int32_t past = 0;                  // tokens before the current chunk
  std::int32_t q_begin = 0;               // rows of this sequence in `queries`
  std::int32_t q_len = 0;
  const at::Tensor* queries = nullptr;    // [n_tokens, n_heads, head_dim] f32
  SelectionSizes sizes;                   // after the request's own wishes were clamped
};

// Returns rows; moves no bytes, allocates no pages, knows nothing of attention. Ties go to the smaller row; the same
// inputs give the same rows whatever shares the batch.
// Thread: executor only.
class SelectionPolicy {
 public:
  virtual ~SelectionPolicy() = default;
  virtual PolicyTraits traits() const = 0;

  // Errors: INTERNAL, which fails this sequence; there is no silent switch to another policy.
  virtual absl::StatusOr<Selection> Select(const SelectionContext& context) = 0;

  // The sequence will not come again: drop what is kept for it.
  virtual void OnSequenceEnd(RequestId id) = 0;
};

}  // namespace keyhole
