#include "engine/ops/cuda/kernels/top_k.h"

#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kWarpScores = kTopKSegment / kWarps;

struct PassArgs {
  TopKArgs top_k;
  std::int32_t pass;
};

// Largest digits first, each thread a run of them: finds the digit of the k-th largest key. Once in
// a kernel.
__device__ RadixState Decide(const std::uint32_t* counts, RadixState state, int pass) {
  __shared__ std::int32_t warps[kWarps];
  __shared__ RadixState decided;
  const int thread = threadIdx.x;
  const int per_thread = RadixBins(pass) / kThreads;
  const int last = RadixBins(pass) - 1 - thread * per_thread;
  std::int32_t sum = 0;
  for (int i = 0; i < per_thread; ++i) sum += static_cast<std::int32_t>(counts[last - i]);
  std::int32_t greater = WarpPrefix(sum);
  if (thread % kWarpLanes == kWarpLanes - 1) warps[thread / kWarpLanes] = greater + sum;
  __syncthreads();
  for (int warp = 0; warp < thread / kWarpLanes; ++warp) greater += warps[warp];
  for (int i = 0; i < per_thread; ++i) {
    const auto count = static_cast<std::int32_t>(counts[last - i]);
    if (RadixDecides(greater, count, state.wanted)) {
      decided = RadixNext(state, pass, static_cast<std::uint32_t>(last - i), greater);
    }
    greater += count;
  }
  __syncthreads();
  return decided;
}

// What the passes before `pass` found. The first block keeps it for the next kernel.
__device__ RadixState StateBefore(const TopKSequence& sequence, int pass) {
  if (pass == 0) return {0, sequence.k};
  const RadixState before = pass == 1 ? RadixState{0, sequence.k} : sequence.states[pass - 2];
  const RadixState state = Decide(sequence.counts + (pass - 1) * kRadixBins, before, pass - 1);
  if (blockIdx.x == 0 && threadIdx.x == 0) sequence.states[pass - 1] = state;
  return state;
}

__device__ bool IsIdle(const TopKSequence& sequence) {
  return sequence.k == 0 || std::int64_t{blockIdx.x} * kTopKSegment >= sequence.n;
}

__device__ std::int32_t SegmentEnd(const TopKSequence& sequence) {
  const std::int32_t end = (static_cast<std::int32_t>(blockIdx.x) + 1) * kTopKSegment;
  return end < sequence.n ? end : sequence.n;
}

// Digits of the keys that share the prefix found so far. grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) HistogramKernel(PassArgs args) {
  const TopKSequence& sequence = args.top_k.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ std::uint32_t bins[kRadixBins];
  const RadixState state = StateBefore(sequence, args.pass);
  for (int i = threadIdx.x; i < kRadixBins; i += kThreads) bins[i] = 0;
  __syncthreads();
  const std::int32_t end = SegmentEnd(sequence);
  for (std::int32_t j = blockIdx.x * kTopKSegment + threadIdx.x; j < end; j += kThreads) {
    const std::uint32_t key = RadixKey(sequence.scores[j]);
    if (RadixPrefix(key, args.pass) == state.prefix) {
      atomicAdd(&bins[RadixDigit(key, args.pass)], 1U);
    }
  }
  __syncthreads();
  std::uint32_t* counts = sequence.counts + args.pass * kRadixBins;
  for (int i = threadIdx.x; i < kRadixBins; i += kThreads) {
    if (bins[i] != 0) atomicAdd(&counts[i], bins[i]);
  }
}

// grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) CountKernel(TopKArgs args) {
  const TopKSequence& sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ std::int32_t scratch[2][kWarps];
  const std::uint32_t limit = StateBefore(sequence, kRadixPasses).prefix;
  std::int32_t greater = 0;
  std::int32_t equal = 0;
  const std::int32_t end = SegmentEnd(sequence);
  for (std::int32_t j = blockIdx.x * kTopKSegment + threadIdx.x; j < end; j += kThreads) {
    const std::uint32_t key = RadixKey(sequence.scores[j]);
    greater += static_cast<std::int32_t>(key > limit);
    equal += static_cast<std::int32_t>(key == limit);
  }
  greater = BlockReduce<kThreads>(greater, Sum{}, scratch[0]);
  equal = BlockReduce<kThreads>(equal, Sum{}, scratch[1]);
  if (threadIdx.x == 0) sequence.segments[blockIdx.x] = {greater, equal};
}

// Of all segments before this block's.
__device__ TopKCount CountsBefore(const TopKSequence& sequence) {
  __shared__ std::int32_t scratch[2][kWarps];
  TopKCount sum = {0, 0};
  for (int i = threadIdx.x; i < static_cast<int>(blockIdx.x); i += kThreads) {
    sum.greater += sequence.segments[i].greater;
    sum.equal += sequence.segments[i].equal;
  }
  return {BlockReduce<kThreads>(sum.greater, Sum{}, scratch[0]),
          BlockReduce<kThreads>(sum.equal, Sum{}, scratch[1])};
}

// A warp takes a run of its segment, 32 scores at a time, in order. grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) EmitKernel(TopKArgs args) {
  const TopKSequence& sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ TopKCount warps[kWarps];
  const int warp = threadIdx.x / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const RadixState limit = sequence.states[kRadixPasses - 1];
  TopKCount before = CountsBefore(sequence);
  const std::int32_t begin = blockIdx.x * kTopKSegment + warp * kWarpScores;

  TopKCount mine = {0, 0};
  for (std::int32_t j = begin + lane; j < begin + kWarpScores; j += kWarpLanes) {
    const std::uint32_t key = j < sequence.n ? RadixKey(sequence.scores[j]) : 0;
    mine.greater += __popc(__ballot_sync(kAllLanes, key > limit.prefix));
    mine.equal += __popc(__ballot_sync(kAllLanes, j < sequence.n && key == limit.prefix));
  }
  if (lane == 0) warps[warp] = mine;
  __syncthreads();
  for (int w = 0; w < warp; ++w) {
    before.greater += warps[w].greater;
    before.equal += warps[w].equal;
  }

  const unsigned lower = (1U << lane) - 1;
  for (std::int32_t j = begin + lane; j < begin + kWarpScores; j += kWarpLanes) {
    const std::uint32_t key = j < sequence.n ? RadixKey(sequence.scores[j]) : 0;
    const bool is_greater = key > limit.prefix;
    const bool is_equal = j < sequence.n && key == limit.prefix;
    const unsigned greater = __ballot_sync(kAllLanes, is_greater);
    const unsigned equal = __ballot_sync(kAllLanes, is_equal);
    const std::int32_t greater_before = before.greater + __popc(greater & lower);
    const std::int32_t equal_before = before.equal + __popc(equal & lower);
    if (is_greater || (is_equal && equal_before < limit.wanted)) {
      sequence.rows[RadixPosition(greater_before, equal_before, limit.wanted)] = sequence.first + j;
    }
    before.greater += __popc(greater);
    before.equal += __popc(equal);
  }
}

}  // namespace

cudaError_t LaunchTopK(const TopKArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_n == 0) return cudaSuccess;
  const std::size_t bytes = sizeof(std::uint32_t) * args.n_sequences * kRadixPasses * kRadixBins;
  if (cudaError_t error = cudaMemsetAsync(args.counts, 0, bytes, stream); error != cudaSuccess) {
    return error;
  }
  const dim3 grid(CeilDiv(args.max_n, kTopKSegment), args.n_sequences);
  for (std::int32_t pass = 0; pass < kRadixPasses; ++pass) {
    if (cudaError_t error = Launch(HistogramKernel, grid, kThreads, stream, PassArgs{args, pass});
        error != cudaSuccess) {
      return error;
    }
  }
  if (cudaError_t error = Launch(CountKernel, grid, kThreads, stream, args); error != cudaSuccess) {
    return error;
  }
  return Launch(EmitKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
