#include "engine/sampling/softmax.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace keyhole {
namespace {

// exp(x) for x <= 0 to about two units in the last place, written so that compilers vectorise it:
// x = n ln 2 + r with |r| <= ln 2 / 2, and a polynomial for exp(r).
inline float ExpOfNonPositive(float x) {
  constexpr float kSmallest = -87.0F;  // below it the result is smaller than any normal number
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float clamped = x < kSmallest ? kSmallest : x;
  const float shifted = clamped * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  const float scaled = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
  return x < kSmallest ? 0.0F : scaled;
}

// The largest logit; NaN if any is not finite. Works on bit patterns, whose maxima compilers
// vectorise.
float FiniteMax(std::span<const float> logits) {
  constexpr std::int32_t kMagnitude = 0x7FFFFFFF;
  constexpr std::int32_t kInfinity = 0x7F800000;
  std::int32_t magnitude = 0;
  std::int32_t ordered = std::numeric_limits<std::int32_t>::min();  // sorts as the floats do
  for (const float logit : logits) {
    const auto bits = std::bit_cast<std::int32_t>(logit);
    magnitude = std::max(magnitude, bits & kMagnitude);
    ordered = std::max(ordered, bits ^ ((bits >> 31) & kMagnitude));
  }
  if (magnitude >= kInfinity) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(ordered ^ ((ordered >> 31) & kMagnitude));
}

// Four sums side by side, so that additions do not wait for one another.
double Sum(std::span<const float> values) {
  std::array<double, 4> sums = {};
  const std::size_t whole = values.size() & ~std::size_t{3};
  for (std::size_t i = 0; i < whole; i += 4) {
    sums[0] += values[i];
    sums[1] += values[i + 1];
    sums[2] += values[i + 2];
    sums[3] += values[i + 3];
  }
  for (std::size_t i = whole; i < values.size(); ++i) sums[i - whole] += values[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

double ExpWeights(std::span<const float> logits,
                  float max,
                  double inverse_temperature,
                  std::span<float> weights) {
  // A cold temperature may overflow the product to -infinity, which the exponential takes as 0.
  const auto scale =
      static_cast<float>(std::min<double>(inverse_temperature, std::numeric_limits<float>::max()));
  for (std::size_t i = 0; i < logits.size(); ++i) {
    weights[i] = ExpOfNonPositive((logits[i] - max) * scale);
  }
  return Sum(weights);
}

double LogSumExp(std::span<const float> logits) {
  const float max = FiniteMax(logits);
  if (std::isnan(max)) return max;
  constexpr std::size_t kBlock = 1024;
  std::array<float, kBlock> weights;
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); i += kBlock) {
    const auto block = logits.subspan(i, std::min(kBlock, logits.size() - i));
    sum += ExpWeights(block, max, 1, std::span(weights).first(block.size()));
  }
  return max + std::log(sum);
}

}  // namespace keyhole
