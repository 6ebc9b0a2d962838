// The operators that treat every row by itself, on the CPU: rows are shared among the threads.
#pragma once

#include "engine/device/device.h"
#include "engine/ops/cpu/row_kernels.h"

namespace keyhole {

void RmsNormCpu(Device& device, const RmsNormTask& task);
void RopeCpu(Device& device, const RopeTask& task);
void SiluMulCpu(Device& device, const SiluMulTask& task);
void AddCpu(Device& device, const AddTask& task);

}  // namespace keyhole
