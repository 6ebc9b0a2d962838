// What the tests of operators share: levels, devices and random numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "engine/device/device.h"
#include "gtest/gtest.h"

namespace keyhole {

// Every level that this machine can run.
inline std::vector<CpuLevel> AvailableLevels() {
  std::vector<CpuLevel> levels;
  for (int i = 0; i <= static_cast<int>(DetectCpuLevel()); ++i) {
    levels.push_back(static_cast<CpuLevel>(i));
  }
  return levels;
}

inline std::string LevelTestName(const ::testing::TestParamInfo<CpuLevel>& info) {
  return std::string(CpuLevelName(info.param));
}

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

}  // namespace keyhole
