// The instruction sets that tests of operators run on.
#pragma once

#include <string>
#include <vector>

#include "engine/device/cpu_features.h"
#include "gtest/gtest.h"

namespace keyhole {

// Every level that this machine can run; or, in a program that emulates those above AVX2, these.
inline std::vector<CpuLevel> AvailableLevels() {
#ifdef KEYHOLE_EMULATED_LEVELS
  if (DetectCpuLevel() < CpuLevel::kAvx2) return {CpuLevel::kPortable};
  return {CpuLevel::kAvx512, CpuLevel::kAvx512Vnni, CpuLevel::kAvx512Bf16, CpuLevel::kAmx};
#else
  std::vector<CpuLevel> levels;
  for (int i = 0; i <= static_cast<int>(DetectCpuLevel()); ++i) {
    levels.push_back(static_cast<CpuLevel>(i));
  }
  return levels;
#endif
}

inline std::string LevelTestName(const ::testing::TestParamInfo<CpuLevel>& info) {
  return std::string(CpuLevelName(info.param));
}

}  // namespace keyhole
