#include "engine/ops/cuda/kernels/attend.h"
#include "engine/ops/cuda/kernels/launch.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 128;

// Splits in order. grid: query heads of all queries; sequences.
__global__ void __launch_bounds__(kThreads) AttendMergeKernel(AttendArgs args) {
  const AttendSequence& sequence = args.sequences[blockIdx.y];
  const std::int64_t vectors = std::int64_t{sequence.q_len} * args.n_heads;
  const std::int64_t vector = blockIdx.x;
  if (sequence.n_splits == 1 || vector >= vectors) return;
  const SoftmaxState* states = args.partial_states + sequence.partial + vector;
  const float* values = args.partial_values + (sequence.partial + vector) * args.head_dim;
  float top = kNoScore;
  for (int split = 0; split < sequence.n_splits; ++split) {
    top = fmaxf(top, states[split * vectors].max);
  }
  for (int c = threadIdx.x; c < args.head_dim; c += kThreads) {
    float sum = 0;
    float value = 0;
    for (int split = 0; split < sequence.n_splits; ++split) {
      const SoftmaxState state = states[split * vectors];
      const float weight = exp2f(state.max - SafeMax(top));
      sum += state.sum * weight;
      value += values[split * vectors * args.head_dim + c] * weight;
    }
    sequence.out[vector * args.head_dim + c] = sum == 0 ? 0 : value / sum;
  }
}

}  // namespace

cudaError_t LaunchAttendMerge(const AttendArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_q_len == 0 || args.max_splits <= 1) return cudaSuccess;
  const dim3 grid(args.max_q_len * args.n_heads, args.n_sequences);
  return Launch(AttendMergeKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
