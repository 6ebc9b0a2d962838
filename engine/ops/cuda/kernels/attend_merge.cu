#include "engine/ops/cuda/kernels/attend.h"
#include "engine/ops/cuda/kernels/attend_split.h"
#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/cuda/kernels/ptx.h"
#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kTurns = 8;  // splits of a warp on their way at once
constexpr int kLaneDims = 4;
constexpr int kMaxDim = kLaneDims * kWarpLanes;

struct Splits {
  SoftmaxState states[kWantedBlocks];
  float weights[kWantedBlocks];
  float maxima[kWarps];
  float sums[kWarps];
};

// What each split counts for; returns the sum of all. `states` are read once, by one thread each.
__device__ float WeighSplits(const SoftmaxState* states,
                             std::int64_t stride,
                             int n_splits,
                             Splits& splits) {
  float top = kNoScore;
  for (int split = threadIdx.x; split < n_splits; split += kThreads) {
    splits.states[split] = states[split * stride];
    top = fmaxf(top, splits.states[split].max);
  }
  top = BlockReduce<kThreads>(top, Max{}, splits.maxima);
  float sum = 0;
  for (int split = threadIdx.x; split < n_splits; split += kThreads) {
    const SoftmaxState& state = splits.states[split];
    splits.weights[split] = Exp2(state.max - SafeMax(top));
    sum += state.sum * splits.weights[split];
  }
  return BlockReduce<kThreads>(sum, Sum{}, splits.sums);
}

// Four values of a warp's share of the splits, in order. Splits behind the last count for nothing.
__device__ float4 AddSplits(const float* values,
                            std::int64_t stride,
                            int n_splits,
                            const Splits& splits) {
  float4 sum = make_float4(0, 0, 0, 0);
  for (int begin = threadIdx.x / kWarpLanes; begin < n_splits; begin += kWarps * kTurns) {
    float4 x[kTurns];
    float weights[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int split = begin + turn * kWarps;
      const bool there = split < n_splits;
      x[turn] = __ldg(reinterpret_cast<const float4*>(values + (there ? split : begin) * stride));
      weights[turn] = there ? splits.weights[split] : 0;
    }
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      sum.x += x[turn].x * weights[turn];
      sum.y += x[turn].y * weights[turn];
      sum.z += x[turn].z * weights[turn];
      sum.w += x[turn].w * weights[turn];
    }
  }
  return sum;
}

// Warps add up their shares, and then those are added up in order.
// grid: query heads of all queries; sequences.
__global__ void __launch_bounds__(kThreads) AttendMergeKernel(AttendArgs args) {
  const AttendSequence& sequence = args.sequences[blockIdx.y];
  const std::int64_t vectors = std::int64_t{sequence.q_len} * args.n_heads;
  const std::int64_t vector = blockIdx.x;
  const int n_splits = sequence.n_splits;
  if (n_splits == 1 || vector >= vectors) return;
  __shared__ Splits splits;
  __shared__ __align__(16) float parts[kWarps][kMaxDim];

  const std::int64_t first = sequence.partial + vector;
  const float sum = WeighSplits(args.partial_states + first, vectors, n_splits, splits);
  const int warp = threadIdx.x / kWarpLanes;
  const int dim = threadIdx.x % kWarpLanes * kLaneDims;
  const float* values = args.partial_values + first * args.head_dim;
  const std::int64_t stride = vectors * args.head_dim;
  *reinterpret_cast<float4*>(&parts[warp][dim]) =
      AddSplits(values + (dim < args.head_dim ? dim : 0), stride, n_splits, splits);
  __syncthreads();
  const int c = threadIdx.x;
  if (c >= args.head_dim) return;
  float value = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) value += parts[w][c];
  Store(sum == 0 ? 0 : value / sum, vector * args.head_dim + c, sequence.out, sequence.rounded);
}
static_assert(kMaxDim <= kThreads, "a thread has one value of the result");

}  // namespace

cudaError_t LaunchAttendMerge(const AttendArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_q_len == 0 || args.max_splits <= 1) return cudaSuccess;
  const dim3 grid(args.max_q_len * args.n_heads, args.n_sequences);
  return Launch(AttendMergeKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
