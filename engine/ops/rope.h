// Rotary position embedding, half-split layout (arXiv 2104.09864).
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"

namespace at {
class Tensor;
}

namespace keyhole {

// Cosines and sines of one position each, attention factor of YaRN included.
struct RopeRows {
  const float* cos = nullptr;  // [n_positions, head_dim / 2]
  const float* sin = nullptr;
  float attention_factor = 1;  // what both were multiplied by
};

// Rotates x [n, n_heads, head_dim] f32 into `out` (may be x); row i by table row index[i].
void ApplyRope(Device& device,
               const at::Tensor& x,
               RopeRows table,
               std::span<const std::int32_t> index,
               at::Tensor& out);

}  // namespace keyhole
