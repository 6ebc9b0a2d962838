// What ranks that share a model need beside their collectives, on the accelerator.
#pragma once

#include "engine/device/stream.h"
#include "engine/ops/cuda/kernels/rank_ops.h"

namespace keyhole::cuda {

// Exact. Throws std::logic_error for missing arrays and columns that no part has, DeviceError.
void JoinColumns(const Stream& stream, const JoinColumnsArgs& args);

}  // namespace keyhole::cuda
