// 16-bit floating point without special instructions.
#pragma once

#include <bit>
#include <cstdint>

namespace keyhole {

// Exact; integers carry subnormal numbers, so that a mode which flushes them changes nothing.
inline float HalfToFloat32(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = bits & 0x7C00U;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(bits & 0x3FFU) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t shifted = (bits & 0x7FFFU) << 13;
  const std::uint32_t rebased =
      exponent == 0x7C00U ? shifted | 0x7F800000U : shifted + (112U << 23);
  return std::bit_cast<float>(rebased | sign);
}

// To nearest even; to infinity from 65520 on.
inline std::uint16_t Float32ToHalf(float value) {
  constexpr std::uint32_t kInfinity = 0x7F800000U;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > kInfinity) return static_cast<std::uint16_t>(sign | 0x7E00U);
  if (magnitude >= (143U << 23)) return static_cast<std::uint16_t>(sign | 0x7C00U);
  if (magnitude < (113U << 23)) {
    // Adding 0.5 leaves the value in units of 2^-24, rounded, in the low bits.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U));
  }
  magnitude += 0xFFFU + ((magnitude >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((magnitude - (112U << 23)) >> 13));
}

inline float Bf16ToFloat32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// To nearest even.
inline std::uint16_t Float32ToBf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace keyhole
