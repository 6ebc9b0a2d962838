// Which kernel attends for a sequence, and how its rows are split. Pure arithmetic on its own
// sizes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/cuda/attend_rows.h"
#include "engine/ops/cuda/kernels/attend.h"

namespace keyhole::cuda {

// Consecutive sequences of AttendPlan::sequences for one kernel.
struct AttendLaunch {
  std::int32_t first = 0;
  std::int32_t n_sequences = 0;
  std::int32_t max_q_len = 0;
  std::int32_t max_splits = 0;
};

struct AttendPlan {
  std::vector<AttendSequence> sequences;  // those of `few`, then those of `many`
  AttendLaunch few;
  AttendLaunch many;
  std::int64_t n_partials = 0;  // vectors of head_dim
};

// True for the kernel of tensor cores.
bool AttendsByTiles(const AttendParams& params);

// Refills `plan`. Throws std::logic_error for what breaks AttendRows' requirements.
void PlanAttend(const AttendSettings& settings,
                std::span<const AttendParams> sequences,
                AttendPlan& plan);

}  // namespace keyhole::cuda
