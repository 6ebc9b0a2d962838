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

constexpr std::size_t kLanes = 16;

// The largest logit; NaN if any is not finite. One result per lane, so that compilers vectorise it.
float FiniteMax(std::span<const float> logits) {
  std::array<float, kLanes> max;
  std::array<float, kLanes> zero = {};  // stays 0 as long as every logit is finite
  max.fill(logits[0]);
  const std::size_t whole = logits.size() - logits.size() % kLanes;
  const auto visit = [&](std::size_t lane, float logit) {
    max[lane] = logit > max[lane] ? logit : max[lane];
    zero[lane] += logit * 0.0F;
  };
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) visit(lane, logits[i + lane]);
  }
  for (std::size_t i = whole; i < logits.size(); ++i) visit(i - whole, logits[i]);
  for (const float lane : zero) {
    if (std::isnan(lane)) return lane;
  }
  return *std::max_element(max.begin(), max.end());
}

}  // namespace

double ExpWeights(std::span<const float> logits,
                  float max,
                  double inverse_temperature,
                  std::span<float> weights) {
  // A cold temperature may overflow the product to -infinity, which the exponential takes as 0.
  const auto scale =
      static_cast<float>(std::min<double>(inverse_temperature, std::numeric_limits<float>::max()));
  std::array<double, kLanes> sums = {};
  const std::size_t n = logits.size();
  const std::size_t whole = n - n % kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float weight = ExpOfNonPositive((logits[i + lane] - max) * scale);
      weights[i + lane] = weight;
      sums[lane] += weight;
    }
  }
  for (std::size_t i = whole; i < n; ++i) {
    weights[i] = ExpOfNonPositive((logits[i] - max) * scale);
    sums[i - whole] += weights[i];
  }
  double sum = 0;
  for (const double lane_sum : sums) sum += lane_sum;
  return sum;
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
