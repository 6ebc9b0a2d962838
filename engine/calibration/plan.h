// The sizes of one calibration run.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/calibration/calibrate.h"
#include "engine/calibration/samples.h"
#include "engine/selection/selection.h"

namespace keyhole {

// The text is read in segments within the trained window; the last one is held out.
struct CalibrationPlan {
  std::int64_t n_tokens = 0;
  std::int64_t n_fitted = 0;  // tokens [0, n_fitted) make the maps, the rest measures them
  std::int64_t segment = 0;   // most tokens of a segment
  std::int32_t query_distance = 0;
  std::int32_t rank = 0;
  std::int32_t concatenated_rank = 0;  // 0: the form is left out
  TokenChoice ranges;                  // tokens whose keys fix the codes' scales
  SelectionSizes sizes;                // of the held-out segment
  TokenChoice probes;                  // tokens of the held-out segment that select
};

// Errors: INVALID_ARGUMENT for a text that is too short and settings that do not fit the model.
absl::StatusOr<CalibrationPlan> PlanCalibration(const CalibrationSettings& settings,
                                                std::int64_t n_tokens);

}  // namespace keyhole
