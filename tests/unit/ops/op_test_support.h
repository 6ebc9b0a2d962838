// What the tests of operators share: levels, devices and random numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <span>
#include <vector>

#include "engine/device/device.h"
#include "engine/ops/linear.h"
#include "engine/ops/quantized_blocks.h"
#include "tests/support/cpu_levels.h"

namespace keyhole {

// Contiguous f32, without a value.
at::Tensor EmptyTensor(std::initializer_list<std::int64_t> shape);

inline std::vector<float> RandomValues(std::int64_t n, unsigned seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(static_cast<std::size_t>(n));
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

inline at::Tensor ToTensor(const std::vector<float>& values,
                           std::initializer_list<std::int64_t> shape) {
  at::Tensor tensor = EmptyTensor(shape);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<float>());
  return tensor;
}

inline std::vector<float> ToVector(const at::Tensor& tensor) {
  const float* data = tensor.const_data_ptr<float>();
  return {data, data + tensor.numel()};
}

struct Matrix {
  std::int64_t n_out;
  std::int64_t n_in;
  std::vector<float> values;

  WeightRowReader reader() const {
    return [this](std::int64_t row, std::span<float> out) {
      std::copy_n(values.begin() + row * n_in, n_in, out.begin());
    };
  }
};

inline Matrix RandomMatrix(std::int64_t n_out, std::int64_t n_in, unsigned seed) {
  return {n_out, n_in, RandomValues(n_out * n_in, seed, 0.05F)};
}

PackedLinear PackOrDie(Device& device,
                       LinearFormat format,
                       const Matrix& matrix,
                       std::span<const float> bias = {});

// Rows of random bytes, with scales that are small numbers.
std::vector<std::byte> RandomQuantizedRows(QuantizedEncoding encoding,
                                           std::int64_t n_out,
                                           std::int64_t n_in,
                                           unsigned seed);

// As SplitRow describes them, [n_out, n_in].
std::vector<float> QuantizedValues(const QuantizedRows& rows,
                                   std::int64_t n_out,
                                   std::int64_t n_in);

}  // namespace keyhole
