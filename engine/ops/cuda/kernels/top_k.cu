#include "engine/ops/cuda/kernels/top_k.h"

#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kWarpScores = kTopKSegment / kWarps;

constexpr int kThreadScores = kTopKSegment / kThreads;

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

__device__ void ClearBins(std::uint32_t* bins) {
  for (int i = threadIdx.x; i < kRadixBins; i += kThreads) bins[i] = 0;
  __syncthreads();
}

__device__ void AddBins(const std::uint32_t* bins, const TopKSequence& sequence, int pass) {
  __syncthreads();
  std::uint32_t* counts = sequence.counts + pass * kRadixBins;
  for (int i = threadIdx.x; i < kRadixBins; i += kThreads) {
    if (bins[i] != 0) atomicAdd(&counts[i], bins[i]);
  }
}

// First digits of all keys. grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) FirstDigitKernel(TopKArgs args) {
  const TopKSequence& sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ std::uint32_t bins[kRadixBins];
  ClearBins(bins);
  const std::int32_t end = SegmentEnd(sequence);
  for (std::int32_t j = blockIdx.x * kTopKSegment + threadIdx.x; j < end; j += kThreads) {
    atomicAdd(&bins[RadixDigit(RadixKey(sequence.scores[j]), 0)], 1U);
  }
  AddBins(bins, sequence, 0);
}

// Keeps what reaches the first digit of the k-th largest, in order, and counts the second digits of
// those that have it. A warp takes a run of its segment. grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) KeepKernel(TopKArgs args) {
  const TopKSequence& sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ std::uint32_t bins[kRadixBins];
  __shared__ std::int32_t warps[kWarps];
  const int warp = threadIdx.x / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const std::uint32_t least = StateBefore(sequence, 1).prefix;
  ClearBins(bins);
  const std::int32_t first = blockIdx.x * kTopKSegment;
  const std::int32_t begin = first + warp * kWarpScores + lane;
  std::uint32_t keys[kThreadScores];
  std::int32_t n_kept = 0;
#pragma unroll
  for (int i = 0; i < kThreadScores; ++i) {
    const std::int32_t j = begin + i * kWarpLanes;
    const bool there = j < sequence.n;
    keys[i] = there ? RadixKey(sequence.scores[j]) : 0;
    n_kept += __popc(__ballot_sync(kAllLanes, there && keys[i] >= least));
    if (there && RadixPrefix(keys[i], 1) == least) atomicAdd(&bins[RadixDigit(keys[i], 1)], 1U);
  }
  if (lane == 0) warps[warp] = n_kept;
  AddBins(bins, sequence, 1);

  TopKSurvivor* out = sequence.survivors + first;
  for (int w = 0; w < warp; ++w) out += warps[w];
  const unsigned lower = (1U << lane) - 1;
#pragma unroll
  for (int i = 0; i < kThreadScores; ++i) {
    const std::int32_t j = begin + i * kWarpLanes;
    const bool keep = j < sequence.n && keys[i] >= least;
    const unsigned kept = __ballot_sync(kAllLanes, keep);
    if (keep) out[__popc(kept & lower)] = {keys[i], j};
    out += __popc(kept);
  }
  if (threadIdx.x == kThreads - 1) {
    sequence.n_survivors[blockIdx.x] =
        static_cast<std::int32_t>(out - (sequence.survivors + first));
  }
}

// Last digits of the survivors that share the others with the k-th largest. grid: segments;
// sequences.
__global__ void __launch_bounds__(kThreads) LastDigitKernel(TopKArgs args) {
  const TopKSequence& sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ std::uint32_t bins[kRadixBins];
  const std::uint32_t prefix = StateBefore(sequence, 2).prefix;
  ClearBins(bins);
  const TopKSurvivor* survivors = sequence.survivors + blockIdx.x * kTopKSegment;
  for (int i = threadIdx.x; i < sequence.n_survivors[blockIdx.x]; i += kThreads) {
    const std::uint32_t key = survivors[i].key;
    if (RadixPrefix(key, 2) == prefix) atomicAdd(&bins[RadixDigit(key, 2)], 1U);
  }
  AddBins(bins, sequence, 2);
}

// grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) CountKernel(TopKArgs args) {
  const TopKSequence& sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ std::int32_t scratch[2][kWarps];
  const std::uint32_t limit = StateBefore(sequence, kRadixPasses).prefix;
  std::int32_t greater = 0;
  std::int32_t equal = 0;
  const TopKSurvivor* survivors = sequence.survivors + blockIdx.x * kTopKSegment;
  for (int i = threadIdx.x; i < sequence.n_survivors[blockIdx.x]; i += kThreads) {
    greater += static_cast<std::int32_t>(survivors[i].key > limit);
    equal += static_cast<std::int32_t>(survivors[i].key == limit);
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

// A warp takes a run of its segment's survivors, 32 at a time, in order. grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) EmitKernel(TopKArgs args) {
  const TopKSequence& sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ TopKCount warps[kWarps];
  const int warp = threadIdx.x / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const RadixState limit = sequence.states[kRadixPasses - 1];
  TopKCount before = CountsBefore(sequence);
  const TopKSurvivor* survivors = sequence.survivors + blockIdx.x * kTopKSegment;
  const std::int32_t n = sequence.n_survivors[blockIdx.x];
  const std::int32_t run = CeilDiv(n, kThreads) * kWarpLanes;
  const std::int32_t begin = warp * run + lane;
  const auto key_of = [&](std::int32_t i) { return i < n ? survivors[i].key : 0; };

  TopKCount mine = {0, 0};
  for (std::int32_t i = begin; i < begin + run; i += kWarpLanes) {
    const std::uint32_t key = key_of(i);
    mine.greater += __popc(__ballot_sync(kAllLanes, key > limit.prefix));
    mine.equal += __popc(__ballot_sync(kAllLanes, i < n && key == limit.prefix));
  }
  if (lane == 0) warps[warp] = mine;
  __syncthreads();
  for (int w = 0; w < warp; ++w) {
    before.greater += warps[w].greater;
    before.equal += warps[w].equal;
  }

  const unsigned lower = (1U << lane) - 1;
  for (std::int32_t i = begin; i < begin + run; i += kWarpLanes) {
    const std::uint32_t key = key_of(i);
    const bool is_greater = key > limit.prefix;
    const bool is_equal = i < n && key == limit.prefix;
    const unsigned greater = __ballot_sync(kAllLanes, is_greater);
    const unsigned equal = __ballot_sync(kAllLanes, is_equal);
    const std::int32_t greater_before = before.greater + __popc(greater & lower);
    const std::int32_t equal_before = before.equal + __popc(equal & lower);
    if (is_greater || (is_equal && equal_before < limit.wanted)) {
      sequence.rows[RadixPosition(greater_before, equal_before, limit.wanted)] =
          sequence.first + survivors[i].j;
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
  for (const auto kernel :
       {FirstDigitKernel, KeepKernel, LastDigitKernel, CountKernel, EmitKernel}) {
    const cudaError_t error = Launch(kernel, grid, kThreads, stream, args);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace keyhole::cuda
