#include "engine/ops/cpu/row_ops_cpu.h"

#include <algorithm>

#include "engine/ops/cpu/kernels_for_level.h"

namespace keyhole {
namespace {

RowKernels KernelsFor(CpuLevel level) {
  static constexpr LevelKernels<RowKernels> kSets[] = {
#if defined(__x86_64__)
    {CpuLevel::kAvx512, RowKernelsAvx512},
    {CpuLevel::kAvx2, RowKernelsAvx2},
#endif
    {CpuLevel::kPortable, RowKernelsPortable},
  };
  return KernelsForLevel(level, kSets);
}

// Calls run(first, last) over parts of [0, n_rows) that hold enough values each to be worth a task.
template <class Run>
void ForRows(Device& device, std::int64_t n_rows, std::int64_t row_size, const Run& run) {
  constexpr std::int64_t kTaskValues = 8192;
  const std::int64_t rows =
      std::max<std::int64_t>(1, kTaskValues / std::max<std::int64_t>(1, row_size));
  device.pool().ParallelFor((n_rows + rows - 1) / rows, [&](std::int64_t task) {
    run(task * rows, std::min((task + 1) * rows, n_rows));
  });
}

}  // namespace

void RmsNormCpu(Device& device, const RmsNormTask& task) {
  const RowKernels kernels = KernelsFor(device.cpu_level());
  ForRows(device, task.n_rows, task.n, [&](std::int64_t first, std::int64_t last) {
    RmsNormTask part = task;
    part.x += first * task.n;
    part.out += first * task.n;
    part.n_rows = last - first;
    kernels.rms_norm(part);
  });
}

void RopeCpu(Device& device, const RopeTask& task) {
  const RowKernels kernels = KernelsFor(device.cpu_level());
  const std::int64_t row_size = task.n_heads * 2 * task.half;
  ForRows(device, task.n_rows, row_size, [&](std::int64_t first, std::int64_t last) {
    RopeTask part = task;
    part.x += first * row_size;
    part.out += first * row_size;
    part.index += first;
    part.n_rows = last - first;
    kernels.rope(part);
  });
}

void SiluMulCpu(Device& device, const SiluMulTask& task) {
  const RowKernels kernels = KernelsFor(device.cpu_level());
  ForRows(device, task.n_rows, task.n, [&](std::int64_t first, std::int64_t last) {
    SiluMulTask part = task;
    part.gate_up += first * 2 * task.n;
    part.out += first * task.n;
    part.n_rows = last - first;
    kernels.silu_mul(part);
  });
}

void AddCpu(Device& device, const AddTask& task) {
  const RowKernels kernels = KernelsFor(device.cpu_level());
  ForRows(device, task.n, 1, [&](std::int64_t first, std::int64_t last) {
    kernels.add({task.x + first, task.y + first, last - first});
  });
}

}  // namespace keyhole
