#include "engine/ops/cuda/kernels/compress_queries.h"

#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpLanes;

// Of the query heads that make up `head` of a probe, over the probe's queries; value c of a head.
__device__ float Mean(
    const CompressQueriesArgs& args, const CompressSequence& sequence, int probe, int head, int c) {
  const int group = args.n_heads * args.head_dim / (args.n_queries * args.in_dim);
  const int begin = probe * sequence.span;
  const int left = sequence.q_len - begin;
  const int count = left < sequence.span ? left : sequence.span;
  const float weight = 1.0F / static_cast<float>(count);
  float sum = 0;
  for (int h = head * group; h < (head + 1) * group; ++h) {
    const float* x =
        sequence.queries + (std::int64_t{begin} * args.n_heads + h) * args.head_dim + c;
    const std::int64_t stride = std::int64_t{args.n_heads} * args.head_dim;
    for (int i = 0; i < count; ++i) sum += x[i * stride] * weight;
  }
  return sum;
}

// The `query`th of a probe, rotated.
__device__ void MakeQuery(const CompressQueriesArgs& args,
                          const CompressSequence& sequence,
                          int probe,
                          int query,
                          float* out) {
  const int half = args.head_dim / 2;
  for (int pair = threadIdx.x; pair < args.in_dim / 2; pair += kThreads) {
    const int part = pair / half;
    const int i = pair - part * half;
    const int head = query * (args.in_dim / args.head_dim) + part;
    const float first = Mean(args, sequence, probe, head, i);
    const float second = Mean(args, sequence, probe, head, half + i);
    float* to = out + part * args.head_dim;
    to[i] = first * args.cos[i] - second * args.sin[i];
    to[half + i] = second * args.cos[i] + first * args.sin[i];
  }
}

// A block makes one query's codes. grid: queries of a sequence's probes; sequences.
__global__ void __launch_bounds__(kThreads) CompressQueriesKernel(CompressQueriesArgs args) {
  __shared__ float values[kMaxInDim];
  __shared__ float compressed[kMaxRank];
  __shared__ float scratch[kWarps];
  const CompressSequence& sequence = args.sequences[blockIdx.y];
  const int probe = static_cast<int>(blockIdx.x) / args.n_queries;
  if (probe >= sequence.n_probes) return;
  const int query = static_cast<int>(blockIdx.x) - probe * args.n_queries;
  MakeQuery(args, sequence, probe, query, values);
  __syncthreads();
  const int group = query / (args.n_queries / args.n_groups);
  const int lane = threadIdx.x % kWarpLanes;
  for (int r = threadIdx.x / kWarpLanes; r < args.rank; r += kWarps) {
    const float* map = args.map + (std::int64_t{group} * args.rank + r) * args.in_dim;
    float sum = 0;
    for (int c = lane; c < args.in_dim; c += kWarpLanes) sum += map[c] * values[c];
    sum = WarpReduce(sum, Sum{});
    if (lane == 0) compressed[r] = sum;
  }
  __syncthreads();
  float top = 0;
  for (int r = threadIdx.x; r < args.rank; r += kThreads) top = fmaxf(top, fabsf(compressed[r]));
  top = BlockReduce<kThreads>(top, Max{}, scratch);
  const float to_code = top == 0 ? 0 : 127 / top;
  std::int8_t* codes = sequence.codes + std::int64_t{blockIdx.x} * args.rank;
  for (int r = threadIdx.x; r < args.rank; r += kThreads) {
    codes[r] = static_cast<std::int8_t>(__float2int_rn(compressed[r] * to_code));
  }
  if (threadIdx.x == 0) sequence.scales[blockIdx.x] = args.scale * (top / 127);
}

}  // namespace

cudaError_t LaunchCompressQueries(const CompressQueriesArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_probes == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(args.max_probes * args.n_queries), args.n_sequences);
  return Launch(CompressQueriesKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
