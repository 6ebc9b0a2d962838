#include "engine/device/cpu_features.h"

#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

TEST(CpuFeatures, NamesOfAvailableLevelsParse) {
  for (int i = 0; i <= static_cast<int>(DetectCpuLevel()); ++i) {
    const auto level = static_cast<CpuLevel>(i);
    const auto parsed = ParseCpuLevel(CpuLevelName(level));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, level);
  }
}

TEST(CpuFeatures, UnknownNameIsRefused) {
  const auto parsed = ParseCpuLevel("sse9");
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(parsed.status().message(), HasSubstr("'sse9'"));
}

TEST(CpuFeatures, LevelAboveTheMachineIsRefused) {
  for (int i = static_cast<int>(DetectCpuLevel()) + 1; i <= static_cast<int>(CpuLevel::kAmx); ++i) {
    const auto parsed = ParseCpuLevel(CpuLevelName(static_cast<CpuLevel>(i)));
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(parsed.status().message(), HasSubstr("not available"));
  }
}

TEST(CpuFeatures, AgreesWithTheKernel) {
  std::ifstream file("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto has = [&](const char* flag) { return text.find(flag) != std::string::npos; };
  const CpuLevel level = DetectCpuLevel();
  EXPECT_EQ(level >= CpuLevel::kAvx2, has(" avx2 ") && has(" fma ") && has(" f16c "));
  EXPECT_EQ(level >= CpuLevel::kAvx512,
            has(" avx512f ") && has(" avx512bw ") && has(" avx512dq ") && has(" avx512vl "));
  EXPECT_EQ(level >= CpuLevel::kAvx512Vnni, has(" avx512_vnni "));
  EXPECT_EQ(level >= CpuLevel::kAvx512Bf16, has(" avx512_vnni ") && has(" avx512_bf16 "));
  EXPECT_EQ(level >= CpuLevel::kAmx,
            has(" avx512_bf16 ") && has(" amx_tile ") && has(" amx_int8 ") && has(" amx_bf16 "));
}

}  // namespace
}  // namespace keyhole
