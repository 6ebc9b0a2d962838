#include "engine/calibration/digest_scales.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace keyhole {
namespace {

constexpr double kLargestCode = 127;
constexpr double kCovered = 0.999;

// The smallest value that `kCovered` of |row . key| do not exceed; keys are `stride` apart.
double Range(std::span<const double> row,
             const float* keys,
             std::int64_t n_keys,
             std::int64_t stride) {
  std::vector<double> sizes(n_keys);
  for (std::int64_t i = 0; i < n_keys; ++i) {
    sizes[i] = std::abs(std::inner_product(row.begin(), row.end(), keys + i * stride, 0.0));
  }
  const auto place = static_cast<std::int64_t>(std::ceil(kCovered * static_cast<double>(n_keys)));
  const auto nth = sizes.begin() + std::max<std::int64_t>(place - 1, 0);
  std::nth_element(sizes.begin(), nth, sizes.end());
  return *nth;
}

}  // namespace

LayerDigestMaps FitToInt8(const FactorMaps& maps, std::span<const float> keys) {
  const std::int64_t dim = maps.dim;
  const std::int64_t stride = maps.n_groups * dim;
  const std::int64_t n_keys = static_cast<std::int64_t>(keys.size()) / stride;
  LayerDigestMaps fitted;
  fitted.query.resize(maps.query.size());
  fitted.key.resize(maps.key.size());
  for (std::int64_t row = 0; row < std::int64_t{1} * maps.n_groups * maps.rank; ++row) {
    const std::span<const double> key_row(maps.key.data() + row * dim, dim);
    const std::int64_t group = row / maps.rank;
    const double range = Range(key_row, keys.data() + group * dim, n_keys, stride);
    const double scale = range > 0 ? kLargestCode / range : 1;
    for (std::int64_t i = row * dim; i < (row + 1) * dim; ++i) {
      fitted.key[i] = static_cast<float>(maps.key[i] * scale);
      fitted.query[i] = static_cast<float>(maps.query[i] / scale);
    }
  }
  return fitted;
}

}  // namespace keyhole
