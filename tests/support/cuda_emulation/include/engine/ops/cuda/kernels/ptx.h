// The instructions of the header of this name in the project, emulated from the PTX ISA's tables of
// which lane holds what.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "engine/ops/cuda/kernels/bf16.h"

namespace keyhole::cuda {

inline float Bf16At(std::uint32_t pair, int half) {
  return std::bit_cast<float>(half == 0 ? pair << 16 : pair & 0xFFFF0000U);
}

inline void MmaBf16(float (&d)[4],
                    const std::uint32_t (&a)[4],
                    std::uint32_t b0,
                    std::uint32_t b1) {
  const std::uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const cuda_emulation::Slots slots = cuda_emulation::Exchange(0xFFFFFFFFU, 10, mine, sizeof(mine));
  const auto word = [slots](int lane, int i) {
    std::uint32_t x;
    std::memcpy(&x, slots[lane] + 4 * i, 4);
    return x;
  };
  const auto a_at = [&](int row, int column) {  // a0 ... a7: row, column -> lane and register
    const int lane = row % 8 * 4 + column % 8 / 2;
    return Bf16At(word(lane, (row >= 8 ? 1 : 0) + (column >= 8 ? 2 : 0)), column % 2);
  };
  const auto b_at = [&](int row, int column) {
    const int lane = column * 4 + row % 8 / 2;
    return Bf16At(word(lane, 4 + (row >= 8 ? 1 : 0)), row % 2);
  };
  const int lane = static_cast<int>(cuda_emulation::Lane());
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + (i >= 2 ? 8 : 0);
    const int column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) d[i] += a_at(row, k) * b_at(k, column);
  }
}

inline const unsigned char* MatrixRow(cuda_emulation::Slots slots, int matrix, int row) {
  return FromLane<const unsigned char*>(slots, matrix * 8 + row);
}

inline void LoadMatrices(std::uint32_t (&m)[4], const void* row) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) std::abort();
  const cuda_emulation::Slots slots = cuda_emulation::Exchange(0xFFFFFFFFU, 11, &row, sizeof(row));
  const int lane = static_cast<int>(cuda_emulation::Lane());
  for (int i = 0; i < 4; ++i) std::memcpy(&m[i], MatrixRow(slots, i, lane / 4) + lane % 4 * 4, 4);
}

inline void LoadMatricesTransposed(std::uint32_t (&m)[4], const void* row) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) std::abort();
  const cuda_emulation::Slots slots = cuda_emulation::Exchange(0xFFFFFFFFU, 12, &row, sizeof(row));
  const int lane = static_cast<int>(cuda_emulation::Lane());
  for (int i = 0; i < 4; ++i) {
    std::uint16_t halves[2];
    for (int j = 0; j < 2; ++j) {
      std::memcpy(&halves[j], MatrixRow(slots, i, lane % 4 * 2 + j) + lane / 4 * 2, 2);
    }
    std::memcpy(&m[i], halves, 4);
  }
}

inline float Exp2(float x) {
  const float power = std::exp2(x);
  return power < std::numeric_limits<float>::min() ? 0 : power;
}

inline std::uint32_t RoundToBf16(float first, float second) {
  const auto round = [](float x) { return std::isnan(x) ? 0x7FFFU : FloatToBf16(x); };
  return round(first) | round(second) << 16;
}

inline void Store16(void* to, uint4 value) { std::memcpy(to, &value, sizeof(value)); }

inline void CopyAsync16(void* to, const void* from) { cuda_emulation::StartCopy(to, from, 16); }
inline void CommitCopies() { cuda_emulation::CommitCopies(); }
template <int kLater>
void WaitForCopies() {
  cuda_emulation::WaitForCopies(kLater);
}

inline uint4 LoadOnce16(const void* from) { return *static_cast<const uint4*>(from); }
inline uint2 LoadOnce8(const void* from) { return *static_cast<const uint2*>(from); }

}  // namespace keyhole::cuda
