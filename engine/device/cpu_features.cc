#include "engine/device/cpu_features.h"

#include <fmt/format.h>

#include <array>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "absl/status/status.h"

namespace keyhole {
namespace {

struct LevelName {
  CpuLevel level;
  std::string_view name;
};

constexpr std::array<LevelName, 6> kLevels = {{
    {CpuLevel::kPortable, "portable"},
    {CpuLevel::kAvx2, "avx2"},
    {CpuLevel::kAvx512, "avx512"},
    {CpuLevel::kAvx512Vnni, "avx512vnni"},
    {CpuLevel::kAvx512Bf16, "avx512bf16"},
    {CpuLevel::kAmx, "amx"},
}};

#if defined(__x86_64__)
// Names of these features are unknown to older compilers, and their state is off until asked for.
bool HasTiles() {
  constexpr unsigned kBf16 = 1U << 22;
  constexpr unsigned kTile = 1U << 24;
  constexpr unsigned kInt8 = 1U << 25;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kAll = kBf16 | kTile | kInt8;
  if ((d & kAll) != kAll) return false;
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // of XSAVE's components
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

}  // namespace

// The built-in asks the operating system as well (XGETBV) whether it saves the wide registers.
CpuLevel DetectCpuLevel() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  // Every processor with AVX2 has F16C, for which older compilers know no name.
  if (!avx2) return CpuLevel::kPortable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!avx512) return CpuLevel::kAvx2;
  if (!__builtin_cpu_supports("avx512vnni")) return CpuLevel::kAvx512;
  if (!__builtin_cpu_supports("avx512bf16")) return CpuLevel::kAvx512Vnni;
  static const bool tiles = HasTiles();
  return tiles ? CpuLevel::kAmx : CpuLevel::kAvx512Bf16;
#else
  return CpuLevel::kPortable;
#endif
}

std::string_view CpuLevelName(CpuLevel level) { return kLevels[static_cast<int>(level)].name; }

absl::StatusOr<CpuLevel> ParseCpuLevel(std::string_view name) {
  for (const LevelName& entry : kLevels) {
    if (entry.name != name) continue;
    const CpuLevel best = DetectCpuLevel();
    if (entry.level <= best) return entry.level;
    return absl::InvalidArgumentError(fmt::format(
        "CPU level '{}' is not available: this machine has '{}'", name, CpuLevelName(best)));
  }
  return absl::InvalidArgumentError(fmt::format(
      "unknown CPU level '{}': use portable, avx2, avx512, avx512vnni, avx512bf16 or amx", name));
}

}  // namespace keyhole
