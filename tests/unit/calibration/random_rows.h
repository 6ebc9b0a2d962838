// Random rows whose dimensions depend on one another and fall off in size, as those of heads do.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/calibration/moments.h"

namespace keyhole {

// [n, dim], not centred.
inline std::vector<float> RandomRows(std::int64_t n, std::int64_t dim, std::uint32_t seed) {
  std::mt19937 bits(seed);
  std::normal_distribution<double> normal;
  std::vector<double> mix(dim * dim);
  for (double& value : mix) value = normal(bits);
  std::vector<float> rows(n * dim);
  std::vector<double> hidden(dim);
  for (std::int64_t row = 0; row < n; ++row) {
    for (std::int64_t i = 0; i < dim; ++i) {
      hidden[i] = (normal(bits) + 0.5) * std::exp(-0.3 * static_cast<double>(i));
    }
    for (std::int64_t i = 0; i < dim; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j < dim; ++j) sum += mix[i * dim + j] * hidden[j];
      rows[row * dim + i] = static_cast<float>(sum);
    }
  }
  return rows;
}

// E[x x^T] of the rows, by the formula.
inline std::vector<double> SecondMoment(const std::vector<float>& rows, std::int64_t dim) {
  std::vector<double> moment(dim * dim);
  const auto n = static_cast<std::int64_t>(rows.size()) / dim;
  for (std::int64_t row = 0; row < n; ++row) {
    for (std::int64_t i = 0; i < dim; ++i) {
      for (std::int64_t j = 0; j < dim; ++j) {
        moment[i * dim + j] +=
            static_cast<double>(rows[row * dim + i]) * rows[row * dim + j] / static_cast<double>(n);
      }
    }
  }
  return moment;
}

inline FormMoments MomentsOf(const std::vector<float>& queries,
                             const std::vector<float>& keys,
                             std::int32_t dim) {
  FormMoments moments;
  moments.n_groups = 1;
  moments.dim = dim;
  moments.query = SecondMoment(queries, dim);
  moments.key = SecondMoment(keys, dim);
  return moments;
}

}  // namespace keyhole
