// Fits maps to int8 digests.
#pragma once

#include <span>

#include "engine/calibration/closed_form.h"
#include "engine/selection/digest_maps.h"

namespace keyhole {

// Scales each dimension so that 99.9% of the digests of `keys` [n_keys, n_groups, dim] lie in
// [-127, 127], and the queries' dimension by the inverse. A dimension that is zero for all keys
// keeps its scale. REQUIRES: there is a key.
LayerDigestMaps FitToInt8(const FactorMaps& maps, std::span<const float> keys);

}  // namespace keyhole
