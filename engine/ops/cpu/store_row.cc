#include "engine/ops/store_row.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/ops/half_float.h"

namespace keyhole {
namespace {

// Without a library call that would keep the loop from being vectorised; for |x| < 2^22.
float RoundToInteger(float x) {
  constexpr float kRound = 12582912;  // 1.5 * 2^23
  return (x + kRound) - kRound;
}

void StoreInt8(const float* in, std::int32_t n, std::byte* out) {
  float top = 0;
  float zero = 0;  // else one of the values is not finite
  for (std::int32_t i = 0; i < n; ++i) {
    top = std::max(top, std::abs(in[i]));
    zero += in[i] * 0;
  }
  const bool finite = zero == 0;
  const float scale = finite ? top / 127 : std::numeric_limits<float>::quiet_NaN();
  const float to_code = 1 / scale;
  const float factor = finite && std::isfinite(to_code) ? to_code : 0;
  auto* codes = reinterpret_cast<std::int8_t*>(out);
  for (std::int32_t i = 0; i < n; ++i) {
    const float value = finite ? in[i] : 0;
    codes[i] = static_cast<std::int8_t>(RoundToInteger(value * factor));
  }
  std::memcpy(out + n, &scale, sizeof(scale));
}

void LoadInt8(const std::byte* in, std::int32_t n, float* out) {
  float scale = 0;
  std::memcpy(&scale, in + n, sizeof(scale));
  const auto* codes = reinterpret_cast<const std::int8_t*>(in);
  for (std::int32_t i = 0; i < n; ++i) out[i] = scale * static_cast<float>(codes[i]);
}

}  // namespace

void StoreHead(KvType type, const float* in, std::int32_t head_dim, std::byte* out) {
  switch (type) {
    case KvType::kF32:
      std::memcpy(out, in, head_dim * sizeof(float));
      return;
    case KvType::kBF16: {
      auto* halves = reinterpret_cast<std::uint16_t*>(out);
      for (std::int32_t i = 0; i < head_dim; ++i) halves[i] = Float32ToBf16(in[i]);
      return;
    }
    case KvType::kInt8:
      StoreInt8(in, head_dim, out);
      return;
  }
}

void LoadHead(KvType type, const std::byte* in, std::int32_t head_dim, float* out) {
  switch (type) {
    case KvType::kF32:
      std::memcpy(out, in, head_dim * sizeof(float));
      return;
    case KvType::kBF16: {
      const auto* halves = reinterpret_cast<const std::uint16_t*>(in);
      for (std::int32_t i = 0; i < head_dim; ++i) out[i] = Bf16ToFloat32(halves[i]);
      return;
    }
    case KvType::kInt8:
      LoadInt8(in, head_dim, out);
      return;
  }
}

void StoreHeads(const KvLayout& layout, const float* in, std::byte* out) {
  for (std::int32_t head = 0; head < layout.n_kv_heads; ++head) {
    StoreHead(layout.type, in, layout.head_dim, out);
    in += layout.head_dim;
    out += layout.head_bytes();
  }
}

void LoadHeads(const KvLayout& layout, const std::byte* in, float* out) {
  for (std::int32_t head = 0; head < layout.n_kv_heads; ++head) {
    LoadHead(layout.type, in, layout.head_dim, out);
    in += layout.head_bytes();
    out += layout.head_dim;
  }
}

}  // namespace keyhole
