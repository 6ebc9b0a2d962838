// Brain floats as bits, by arithmetic that host and device share.
#pragma once

#include <bit>
#include <cstdint>

namespace keyhole::cuda {

constexpr float Bf16ToFloat(std::uint32_t bits) { return std::bit_cast<float>(bits << 16); }

// To nearest even. A NaN stays one.
constexpr std::uint32_t FloatToBf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return (bits >> 16) | 0x40U;
  return (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
}

// Two in a word, the first in the low half, as vectors in memory and in registers have them.
constexpr std::uint32_t PackBf16(float first, float second) {
  return FloatToBf16(first) | FloatToBf16(second) << 16;
}
// The same of numbers that bf16 has: nothing is rounded.
constexpr std::uint32_t PackExactBf16(float first, float second) {
  return std::bit_cast<std::uint32_t>(first) >> 16 |
         (std::bit_cast<std::uint32_t>(second) & 0xFFFF0000U);
}
constexpr float LowBf16(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }
constexpr float HighBf16(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xFFFF0000U); }

// Element `at` of `rounded` where it is given, else of `out`.
constexpr void Store(float x, std::int64_t at, float* out, std::uint16_t* rounded) {
  if (rounded == nullptr) {
    out[at] = x;
  } else {
    rounded[at] = static_cast<std::uint16_t>(FloatToBf16(x));
  }
}

}  // namespace keyhole::cuda
