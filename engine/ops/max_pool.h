// Stride-1 maximum over a neighbourhood.
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"

namespace keyhole {

// out[j] = max of in[j - eps .. j + eps], clipped to the ends. Source: ESA section 3.2, proximity
// influence (arXiv 2502.14477). REQUIRES: sizes are equal, eps >= 0, `out` is not `in`, no NaN.
// Throws std::logic_error otherwise.
void MaxPool(Device& device, std::span<const float> in, std::int32_t eps, std::span<float> out);

// As if the values before each border and those from it on were pooled apart. REQUIRES: `borders`
// ascend and are inside (0, in.size()), besides what the other asks.
void MaxPool(Device& device,
             std::span<const float> in,
             std::span<const std::int32_t> borders,
             std::int32_t eps,
             std::span<float> out);

}  // namespace keyhole
