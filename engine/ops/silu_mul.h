// The gate of a SwiGLU feed-forward layer (arXiv 2002.05202).
#pragma once

#include "engine/device/device.h"

namespace at {
class Tensor;
}

namespace keyhole {

// gate_up [n, 2 * ffn] f32 (gate first) -> out [n, ffn] = silu(gate) * up.
void SiluMul(Device& device, const at::Tensor& gate_up, at::Tensor& out);

}  // namespace keyhole
