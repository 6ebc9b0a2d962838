// The work of one step, as the scheduler chose it. Plain data.
#pragma once

#include <optional>
#include <vector>

#include "engine/request/sequence.h"
#include "engine/request/sequence_positions.h"

namespace keyhole {

struct PrefillChunk {
  Sequence* sequence = nullptr;
  TokenRange tokens;  // as NextChunk cuts them
};

// Sequences belong to the step loop and stay alive while the step is submitted.
struct StepPlan {
  std::optional<PrefillChunk> prefill;  // one at most
  std::vector<Sequence*> decode;        // one token each

  bool empty() const { return !prefill && decode.empty(); }
};

}  // namespace keyhole
