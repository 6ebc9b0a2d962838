// Root-mean-square normalisation (arXiv 1910.07467).
#pragma once

#include "engine/device/device.h"

namespace at {
class Tensor;
}

namespace keyhole {

// out[i] = x[i] / sqrt(mean(x[i]^2) + eps) * weight, over the last dimension.
// x [..., n] f32, weight [n] f32, out like x and may be x. Used for hidden states and for single
// heads (Qwen3).
void RmsNorm(
    Device& device, const at::Tensor& x, const at::Tensor& weight, double eps, at::Tensor& out);

}  // namespace keyhole
