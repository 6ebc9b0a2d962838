#include "engine/ops/cuda/kernels/sampling.h"

#include "engine/ops/cuda/kernels/reduce.h"
#include "engine/ops/cuda/kernels/softmax_state.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarpLanes;

struct Candidate {
  float logit;
  std::int32_t token;
};

struct Better {
  __device__ Candidate operator()(Candidate a, Candidate b) const {
    return b.logit > a.logit || (b.logit == a.logit && b.token < a.token) ? b : a;
  }
};

__device__ Candidate OfWarp(Candidate best) {
#pragma unroll
  for (int mask = kWarpLanes / 2; mask > 0; mask /= 2) {
    const Candidate other = {__shfl_xor_sync(kAllLanes, best.logit, mask),
                             __shfl_xor_sync(kAllLanes, best.token, mask)};
    best = Better{}(best, other);
  }
  return best;
}

// grid: rows.
__global__ void __launch_bounds__(kThreads) ArgMaxKernel(ArgMaxArgs args) {
  __shared__ Candidate warps[kWarps];
  const float* logits = args.in.logits + std::int64_t{blockIdx.x} * args.in.vocab_size;
  Candidate best = {kNoScore, args.in.vocab_size};
  for (std::int32_t i = threadIdx.x; i < args.in.vocab_size; i += kThreads) {
    best = Better{}(best, {logits[i], i});
  }
  best = OfWarp(best);
  if (threadIdx.x % kWarpLanes == 0) warps[threadIdx.x / kWarpLanes] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kWarps; ++warp) best = Better{}(best, warps[warp]);
  args.tokens[blockIdx.x] = best.token;
}

// grid: rows.
__global__ void __launch_bounds__(kThreads) SoftmaxKernel(SoftmaxArgs args) {
  __shared__ float scratch[2][kWarps];
  const std::int64_t first = std::int64_t{blockIdx.x} * args.in.vocab_size;
  const float* logits = args.in.logits + first;
  const float factor =
      args.inverse_temperatures == nullptr ? 1 : args.inverse_temperatures[blockIdx.x];
  float top = kNoScore;
  for (std::int32_t i = threadIdx.x; i < args.in.vocab_size; i += kThreads) {
    top = fmaxf(top, logits[i]);
  }
  top = BlockReduce<kThreads>(top, Max{}, scratch[0]);
  float sum = 0;
  for (std::int32_t i = threadIdx.x; i < args.in.vocab_size; i += kThreads) {
    sum += expf((logits[i] - top) * factor);
  }
  sum = BlockReduce<kThreads>(sum, Sum{}, scratch[1]);
  const float inverse = 1 / sum;
  for (std::int32_t i = threadIdx.x; i < args.in.vocab_size; i += kThreads) {
    args.probabilities[first + i] = expf((logits[i] - top) * factor) * inverse;
  }
  if (threadIdx.x == 0 && args.log_sums != nullptr) {
    args.log_sums[blockIdx.x] = top * factor + logf(sum);
  }
}

}  // namespace

cudaError_t LaunchArgMax(const ArgMaxArgs& args, cudaStream_t stream) {
  if (args.in.n_rows == 0 || args.in.vocab_size == 0) return cudaSuccess;
  return Launch(ArgMaxKernel, dim3(args.in.n_rows), kThreads, stream, args);
}

cudaError_t LaunchSoftmax(const SoftmaxArgs& args, cudaStream_t stream) {
  if (args.in.n_rows == 0 || args.in.vocab_size == 0) return cudaSuccess;
  return Launch(SoftmaxKernel, dim3(args.in.n_rows), kThreads, stream, args);
}

}  // namespace keyhole::cuda
