// What a PackedLinear holds, for the operators that read it.
#pragma once

#include "engine/ops/cpu/linear_weights.h"
#include "engine/ops/linear.h"

namespace keyhole {

struct PackedLinear::Impl {
  LinearWeights weights;
};

}  // namespace keyhole
