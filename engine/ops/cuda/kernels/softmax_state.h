// Sums of a softmax over some rows, and how those of two sets of rows become one.
#pragma once

#include <limits>

namespace keyhole::cuda {

constexpr float kLog2E = 1.44269504088896340736F;
constexpr float kNoScore = -std::numeric_limits<float>::infinity();

// `sum` and accumulated values are relative to 2^max. Of no rows: max is -infinity, sum 0. Without
// default values, since shared memory holds no initialised objects.
struct SoftmaxState {
  float max;
  float sum;
};

// What scores are taken relative to: never -infinity, so that no difference is NaN.
constexpr float SafeMax(float max) { return max == kNoScore ? 0.0F : max; }

}  // namespace keyhole::cuda
