// Calibrations as safetensors files.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/calibration/calibration.h"

namespace keyhole {

// Errors: NOT_FOUND; INVALID_ARGUMENT for a file that is no calibration, is damaged, or whose sizes
// do not agree with one another.
absl::StatusOr<Calibration> ReadCalibration(const std::string& path);

// Written beside and renamed into place, so that a full disk leaves no half file.
// Errors: what the system says.
absl::Status WriteCalibration(const Calibration& calibration, const std::string& path);

}  // namespace keyhole
