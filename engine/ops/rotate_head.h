// Turns single heads to one position of a rotary table, half-split layout.
#pragma once

#include <cstdint>

#include "engine/ops/rope.h"

namespace keyhole {

// One row of a table.
struct Rotation {
  const float* cos = nullptr;  // [half]
  const float* sin = nullptr;
  std::int32_t half = 0;  // head_dim / 2
};

inline Rotation RotationTo(RopeRows table, std::int32_t head_dim, std::int64_t position) {
  const std::int64_t half = head_dim / 2;
  return {
      table.cos + position * half, table.sin + position * half, static_cast<std::int32_t>(half)};
}

// x and out [head_dim]; out may be x.
template <typename Out>
void RotateHead(const Rotation& to, const float* x, Out* out) {
  for (std::int32_t i = 0; i < to.half; ++i) {
    const Out first = x[i];
    const Out second = x[to.half + i];
    out[i] = first * to.cos[i] - second * to.sin[i];
    out[to.half + i] = second * to.cos[i] + first * to.sin[i];
  }
}

}  // namespace keyhole
