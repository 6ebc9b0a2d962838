// Instruction sets of this machine, detected at run time.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace keyhole {

// Each level includes those before it.
enum class CpuLevel {
  kPortable,    // plain C++
  kAvx2,        // AVX2, FMA, F16C
  kAvx512,      // AVX-512 F, BW, DQ, VL
  kAvx512Vnni,  // and VNNI
  kAvx512Bf16,  // and BF16
  kAmx,         // and tiles of int8 and bf16
};

// Asks the operating system for the tile registers, for all threads of the process.
CpuLevel DetectCpuLevel();
std::string_view CpuLevelName(CpuLevel level);

// Errors: INVALID_ARGUMENT for an unknown name or a level that this machine lacks.
absl::StatusOr<CpuLevel> ParseCpuLevel(std::string_view name);

}  // namespace keyhole
