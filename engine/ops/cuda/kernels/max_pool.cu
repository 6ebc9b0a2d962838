#include "engine/ops/cuda/kernels/max_pool.h"

#include "engine/ops/cuda/kernels/launch.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;

// Neighbours come from the first-level cache. grid: tiles of scores; sequences.
__global__ void __launch_bounds__(kThreads) MaxPoolKernel(MaxPoolArgs args) {
  const MaxPoolSequence& sequence = args.sequences[blockIdx.y];
  const std::int64_t j = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (j >= sequence.n) return;
  const std::int64_t first = j < args.eps ? 0 : j - args.eps;
  const std::int64_t last = j + args.eps < sequence.n ? j + args.eps : sequence.n - 1;
  float top = sequence.in[first];
  for (std::int64_t i = first + 1; i <= last; ++i) top = fmaxf(top, sequence.in[i]);
  sequence.out[j] = top;
}

}  // namespace

cudaError_t LaunchMaxPool(const MaxPoolArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_n == 0) return cudaSuccess;
  const dim3 grid(CeilDiv(args.max_n, kThreads), args.n_sequences);
  return Launch(MaxPoolKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
