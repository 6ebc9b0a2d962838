// Which of an operator's kernels a machine runs.
#pragma once

#include "engine/device/cpu_features.h"

namespace keyhole {

template <class Kernels>
struct LevelKernels {
  CpuLevel level;  // that they need
  Kernels (*get)();
};

// The first of `sets` that `level` allows. REQUIRES: they descend to CpuLevel::kPortable.
template <class Kernels, int n>
Kernels KernelsForLevel(CpuLevel level, const LevelKernels<Kernels> (&sets)[n]) {
  const LevelKernels<Kernels>* set = sets;
  while (set->level > level) ++set;
  return set->get();
}

}  // namespace keyhole
