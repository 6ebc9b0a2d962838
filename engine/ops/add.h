// Residual addition.
#pragma once

#include "engine/device/device.h"

namespace at {
class Tensor;
}

namespace keyhole {

// x += y, same shape, f32.
void AddInPlace(Device& device, at::Tensor& x, const at::Tensor& y);

}  // namespace keyhole
