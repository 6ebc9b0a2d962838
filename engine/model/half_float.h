// 16-bit floating point to f32, exactly, without special instructions.
#pragma once

#include <bit>
#include <cstdint>

namespace keyhole {

inline float Bf16ToFloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// IEEE 754 binary16. Integer arithmetic for subnormal numbers, so that a mode which flushes them
// does not change a weight.
inline float HalfToFloat(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t exponent = bits & 0x7C00;
  const std::uint32_t fraction = bits & 0x03FF;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t shifted = (exponent | fraction) << 13;
  const std::uint32_t rebased = exponent == 0x7C00 ? shifted | 0x7F800000 : shifted + (112U << 23);
  return std::bit_cast<float>(rebased | sign);
}

}  // namespace keyhole
