// One play of a model: prefill, a prefix of another sequence, mixed steps, decode in a batch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/parallel/process_group.h"
#include "tests/support/recording_policy.h"

namespace keyhole::testing {

struct PlayCase {
  std::string model;    // of the golden models, or synthetic:...
  std::string weights;  // "f32", "bf16" or "int8"
  std::string positions;
  std::string policy = "esa";

  std::vector<std::string> arguments() const { return {model, weights, positions, policy}; }
};

struct Play {
  std::vector<std::vector<float>> logits;  // of each step; of rank 0 alone
  std::vector<SelectionRecord> selections;
};

// `group` may be null: one process. Errors: those of the model.
absl::StatusOr<Play> PlayModel(const PlayCase& play, ProcessGroup* group);

// Plays twice in one group. Errors: as above; INTERNAL where ranks select different rows.
absl::StatusOr<std::vector<Play>> PlayAgain(const PlayCase& play, ProcessGroup& group);

// What a child does: PlayAgain as its rank. Returns the exit code.
int PlayAsRank(const TensorParallelSettings& settings, const PlayCase& play);

}  // namespace keyhole::testing
