// The digits of an exact top-k by radix selection. Pure arithmetic.
#pragma once

#include <bit>
#include <cstdint>

namespace keyhole::cuda {

constexpr std::int32_t kRadixPasses = 3;
constexpr std::int32_t kRadixBins = 2048;

// Ascends with x; the two zeros are one value.
constexpr std::uint32_t RadixKey(float x) {
  auto bits = std::bit_cast<std::uint32_t>(x);
  if (bits == 0x80000000U) bits = 0;
  return bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFU : 0x80000000U);
}

// From the highest: 11, 11 and 10 bits.
constexpr std::int32_t RadixShift(std::int32_t pass) { return pass == 0 ? 21 : pass == 1 ? 10 : 0; }
constexpr std::int32_t RadixBins(std::int32_t pass) { return pass == 2 ? 1024 : 2048; }
constexpr std::uint32_t RadixDigit(std::uint32_t key, std::int32_t pass) {
  return key >> RadixShift(pass) & (RadixBins(pass) - 1U);
}
// The digits of the passes before `pass`.
constexpr std::uint32_t RadixPrefix(std::uint32_t key, std::int32_t pass) {
  return pass == 0 ? 0 : key >> RadixShift(pass - 1) << RadixShift(pass - 1);
}

// What is known of the k-th largest key after some passes. Without default values, since shared
// memory holds no initialised objects.
struct RadixState {
  std::uint32_t prefix;  // its digits so far
  std::int32_t wanted;   // it is the `wanted`-th largest of the keys with that prefix
};

// Where the `greater` keys with the prefix and a larger digit are too few, and those with `digit`
// are enough: the next state.
constexpr bool RadixDecides(std::int32_t greater, std::int32_t count, std::int32_t wanted) {
  return greater < wanted && wanted <= greater + count;
}
constexpr RadixState RadixNext(RadixState state,
                               std::int32_t pass,
                               std::uint32_t digit,
                               std::int32_t greater) {
  return {state.prefix | digit << RadixShift(pass), state.wanted - greater};
}

// Where the element after `greater` larger keys and `equal` keys equal to the k-th largest goes,
// when `ties` of the equal ones belong to the k largest, those of the smaller rows.
constexpr std::int32_t RadixPosition(std::int32_t greater, std::int32_t equal, std::int32_t ties) {
  return greater + (equal < ties ? equal : ties);
}

}  // namespace keyhole::cuda
