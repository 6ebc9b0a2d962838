#include "engine/ops/cuda/kernels/rank_ops.h"

#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;

// A thread moves one value.
__global__ void __launch_bounds__(kThreads) JoinColumnsKernel(JoinColumnsArgs args) {
  const std::int64_t index = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t row = index / args.n_cols;
  if (row >= args.n_rows) return;
  const std::int64_t col = index - row * args.n_cols;
  const std::int64_t part = col / args.width;
  args.out[index] =
      args.parts[part * args.part_size + row * args.width + (col - part * args.width)];
}

__global__ void __launch_bounds__(kThreads) HashRowsKernel(HashRowsArgs args) {
  __shared__ unsigned long long scratch[kThreads / kWarpLanes];
  const auto i = static_cast<std::int32_t>(blockIdx.x * kThreads + threadIdx.x);
  const unsigned long long hash = i < args.n ? RowHash(args.layer, i, args.rows[i]) : 0;
  const unsigned long long sum = BlockReduce<kThreads>(hash, Sum(), scratch);
  if (threadIdx.x == 0) atomicAdd(reinterpret_cast<unsigned long long*>(args.hash), sum);
}

}  // namespace

cudaError_t LaunchJoinColumns(const JoinColumnsArgs& args, cudaStream_t stream) {
  const std::int64_t n = args.n_rows * args.n_cols;
  if (n == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(CeilDiv<std::int64_t>(n, kThreads)));
  return Launch(JoinColumnsKernel, grid, kThreads, stream, args);
}

cudaError_t LaunchHashRows(const HashRowsArgs& args, cudaStream_t stream) {
  if (args.n == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(CeilDiv(args.n, kThreads)));
  return Launch(HashRowsKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
