// The maps of the served model's calibration: read, or made at first start.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/engine_config.h"
#include "engine/model/weight_source.h"
#include "engine/selection/digest_maps.h"
#include "engine/selection/selection_policy.h"
#include "engine/telemetry/engine_observer.h"

namespace keyhole {

// The maps of the form that the policy scores, with their figures in the log; null where it scores
// none. `observer` may be null. Calibration takes about a minute on two cores for a small model.
// Errors: those of LoadOrMakeCalibration; INVALID_ARGUMENT where the file lacks the form.
absl::StatusOr<std::shared_ptr<const DigestMaps>> LoadDigestMaps(
    const EngineConfig& config,
    const PolicyTraits& traits,
    const std::shared_ptr<const WeightSource>& source,
    EngineObserver* observer);

}  // namespace keyhole
