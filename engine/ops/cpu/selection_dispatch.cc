#include "engine/ops/cpu/selection_dispatch.h"

#include "engine/ops/cpu/kernels_for_level.h"

namespace keyhole {

SelectionKernels SelectionKernelsFor(CpuLevel level) {
  static constexpr LevelKernels<SelectionKernels> kSets[] = {
#if defined(__x86_64__)
    {CpuLevel::kAvx512Vnni, SelectionKernelsAvx512Vnni},
    {CpuLevel::kAvx512, SelectionKernelsAvx512},
    {CpuLevel::kAvx2, SelectionKernelsAvx2},
#endif
    {CpuLevel::kPortable, SelectionKernelsPortable},
  };
  return KernelsForLevel(level, kSets);
}

}  // namespace keyhole
