#include "engine/ops/cpu/store_row.h"

#include <bit>
#include <cstring>

#include "engine/ops/half_float.h"

namespace keyhole {
void StoreRow(KvType type, const float* in, std::size_t n, std::byte* out) {
  if (type == KvType::kF32) {
    std::memcpy(out, in, n * sizeof(float));
    return;
  }
  auto* halves = reinterpret_cast<std::uint16_t*>(out);
  for (std::size_t i = 0; i < n; ++i) halves[i] = Float32ToBf16(in[i]);
}

void LoadRow(KvType type, const std::byte* in, std::size_t n, float* out) {
  if (type == KvType::kF32) {
    std::memcpy(out, in, n * sizeof(float));
    return;
  }
  const auto* halves = reinterpret_cast<const std::uint16_t*>(in);
  for (std::size_t i = 0; i < n; ++i) {
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(halves[i]) << 16);
  }
}

}  // namespace keyhole
