// The selection kernels of an instruction set.
#pragma once

#include "engine/device/cpu_features.h"
#include "engine/ops/cpu/selection_kernels.h"

namespace keyhole {

SelectionKernels SelectionKernelsFor(CpuLevel level);

}  // namespace keyhole
