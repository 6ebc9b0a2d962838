// Operators that treat every row by itself, on the accelerator: see rms_norm.h, rope.h, silu_mul.h
// and add.h of engine/ops. Memory is the device's.
#pragma once

#include "engine/device/stream.h"
#include "engine/ops/cuda/kernels/row_ops.h"

namespace keyhole::cuda {

// Within 1e-6 relative of the same operators on the CPU. Throw std::logic_error for missing arrays
// and rows that are too long, DeviceError.
void RmsNorm(const Stream& stream, const RmsNormArgs& args);
void ApplyRope(const Stream& stream, const RopeArgs& args);
void SiluMul(const Stream& stream, const SiluMulArgs& args);
void AddInPlace(const Stream& stream, const AddArgs& args);
void AddToRows(const Stream& stream, const AddToRowsArgs& args);

// Exact.
void Lookup(const Stream& stream, const LookupArgs& args);

}  // namespace keyhole::cuda
