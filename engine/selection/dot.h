// Sum of products.
#pragma once

#include <cstdint>
#include <numeric>

namespace keyhole {

// In partial sums, so that it needs no wide registers to be more than one product at a time.
inline float Dot(const float* a, const float* b, std::int32_t n) {
  constexpr std::int32_t kSums = 16;
  float sums[kSums] = {};
  std::int32_t c = 0;
  for (; c + kSums <= n; c += kSums) {
    for (std::int32_t i = 0; i < kSums; ++i) sums[i] += a[c + i] * b[c + i];
  }
  for (std::int32_t i = 0; c < n; ++c, ++i) sums[i] += a[c] * b[c];
  return std::accumulate(sums, sums + kSums, 0.0F);
}

}  // namespace keyhole
