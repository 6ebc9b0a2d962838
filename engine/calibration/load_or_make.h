// A model's calibration: the one beside it, or a new one.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/calibration/calibrate.h"
#include "engine/calibration/calibration.h"

namespace keyhole {

// Where the calibration of a model file lies: "<model>.calibration.safetensors" without its .gguf,
// or "calibration.safetensors" in a Hugging Face directory; empty for a synthetic model.
std::string DefaultCalibrationPath(const std::string& model_path);

using CalibrationWarning = std::function<void(std::string_view text)>;

// Errors: INVALID_ARGUMENT where `calibration` was made from another model or with other rotary
// settings, or its sizes are not those of this one.
absl::Status CheckCalibration(const Calibration& calibration, const WeightSource& source);

// Reads `path`, or where there is no such file calibrates and writes it; with an empty path nothing
// is read or written. What a file that cannot be written costs is told to `warn`, which may be
// empty. Errors: those of ReadCalibration (but NOT_FOUND), CheckCalibration and Calibrate.
absl::StatusOr<Calibration> LoadOrMakeCalibration(const std::string& path,
                                                  const CalibrationSettings& settings,
                                                  const CalibrationProgress& progress,
                                                  const CalibrationWarning& warn);

}  // namespace keyhole
