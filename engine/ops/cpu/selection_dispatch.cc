#include "engine/ops/cpu/selection_dispatch.h"

namespace keyhole {

SelectionKernels SelectionKernelsFor(CpuLevel level) {
#if defined(__x86_64__)
  switch (level) {
    case CpuLevel::kAmx:
    case CpuLevel::kAvx512Bf16:
    case CpuLevel::kAvx512Vnni:
      return SelectionKernelsAvx512Vnni();
    case CpuLevel::kAvx512:
      return SelectionKernelsAvx512();
    case CpuLevel::kAvx2:
      return SelectionKernelsAvx2();
    case CpuLevel::kPortable:
      break;
  }
#else
  static_cast<void>(level);
#endif
  return SelectionKernelsPortable();
}

}  // namespace keyhole
