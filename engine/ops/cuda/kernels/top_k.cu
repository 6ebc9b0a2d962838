#include "engine/ops/cuda/kernels/top_k.h"

#include "engine/ops/cuda/kernels/lists.h"
#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kThreadScores = kTopKSegment / kThreads;  // neighbours

constexpr int kFinishThreads = 1024;
constexpr int kFinishEach = 8;  // survivors of a thread at once
// As many as one block goes through sooner than others can help.
constexpr std::int32_t kFewSurvivors = 2 * kFinishThreads * kFinishEach;
// Of all sequences: about as many as run at once, since most are idle.
constexpr std::int32_t kFinishBlocks = 128;

// A NaN, whose key is 0: less than that of any number.
constexpr float kNothing = std::bit_cast<float>(0xFFFFFFFFU);

__device__ bool IsIdle(const TopKSequence& sequence) {
  return sequence.k == 0 || std::int64_t{blockIdx.x} * kTopKSegment >= sequence.n;
}

__device__ std::uint32_t* CountsOf(const TopKArgs& args, int pass) {
  return args.counts + std::int64_t{blockIdx.y} * kTopKCounts + pass * kRadixBins;
}

__device__ std::int32_t FirstOfThread() {
  return static_cast<std::int32_t>(blockIdx.x * kTopKSegment + threadIdx.x * kThreadScores);
}

// The thread's scores: all of them are on their way before the first is looked at.
__device__ void LoadScores(const TopKSequence& sequence, float (&scores)[kThreadScores]) {
  const std::int32_t begin = FirstOfThread();
  if (begin + kThreadScores <= sequence.n) {
    const auto* fours = reinterpret_cast<const float4*>(sequence.scores + begin);
#pragma unroll
    for (int i = 0; i < kThreadScores / 4; ++i) {
      const float4 four = fours[i];
      scores[4 * i] = four.x;
      scores[4 * i + 1] = four.y;
      scores[4 * i + 2] = four.z;
      scores[4 * i + 3] = four.w;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kThreadScores; ++i) {
    scores[i] = begin + i < sequence.n ? sequence.scores[begin + i] : kNothing;
  }
}

__device__ void KeysOf(const float (&scores)[kThreadScores], std::uint32_t (&keys)[kThreadScores]) {
#pragma unroll
  for (int i = 0; i < kThreadScores; ++i) keys[i] = RadixKey(scores[i]);
}

template <int kBlock, int kCounts>
__device__ void Clear(std::uint32_t* counts) {
#pragma unroll
  for (int i = 0; i < CeilDiv(kCounts, kBlock); ++i) {
    const int at = i * kBlock + static_cast<int>(threadIdx.x);
    if (kCounts % kBlock == 0 || at < kCounts) counts[at] = 0;
  }
}

// Counts the digits of those keys that have the digits before it in common with `prefix`. Scores
// that were pooled come in runs: neighbours of one digit are added at once, since additions to one
// address wait for each other.
template <int kPass, int kEach>
__device__ void CountDigits(const std::uint32_t (&keys)[kEach],
                            std::uint32_t prefix,
                            std::uint32_t* bins) {
  constexpr std::int32_t kShift = RadixShift(kPass);
  std::uint32_t run = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    ++run;
    if (i + 1 < kEach && keys[i + 1] >> kShift == keys[i] >> kShift) continue;
    if (RadixPrefix(keys[i], kPass) == prefix) atomicAdd(&bins[RadixDigit(keys[i], kPass)], run);
    run = 0;
  }
}

// A block's counts to those of the sequence.
template <int kBlock, int kPass>
__device__ void AddCounts(const std::uint32_t* bins, const TopKArgs& args) {
  constexpr int kEach = RadixBins(kPass) / kBlock;
  std::uint32_t mine[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) mine[i] = bins[i * kBlock + threadIdx.x];
  std::uint32_t* counts = CountsOf(args, kPass) + threadIdx.x;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (mine[i] != 0) atomicAdd(&counts[i * kBlock], mine[i]);
  }
}

// Finds the digit of the k-th largest key in the counts of a pass. Largest digits first, each
// thread has a run of them.
template <int kBlock, int kPass>
struct Decider {
  static constexpr int kEach = RadixBins(kPass) / kBlock;

  std::int32_t counts[kEach];

  __device__ int LastDigit() const {
    return RadixBins(kPass) - 1 - static_cast<int>(threadIdx.x) * kEach;
  }

  __device__ void Load(const std::uint32_t* from) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) counts[i] = static_cast<std::int32_t>(from[LastDigit() - i]);
  }

  __device__ RadixState Decide(RadixState state) const {
    __shared__ std::int32_t scratch[kBlock / kWarpLanes];
    __shared__ RadixState decided;
    std::int32_t sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) sum += counts[i];
    std::int32_t total = 0;
    std::int32_t greater = BlockPrefix<kBlock>(sum, total, scratch);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (RadixDecides(greater, counts[i], state.wanted)) {
        decided = RadixNext(state, kPass, static_cast<std::uint32_t>(LastDigit() - i), greater);
      }
      greater += counts[i];
    }
    __syncthreads();
    return decided;
  }
};

// First digits of all keys. grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) FirstDigitKernel(TopKArgs args) {
  const TopKSequence sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ std::uint32_t bins[RadixBins(0)];
  float scores[kThreadScores];
  LoadScores(sequence, scores);
  Clear<kThreads, RadixBins(0)>(bins);
  __syncthreads();
  std::uint32_t keys[kThreadScores];
  KeysOf(scores, keys);
  CountDigits<0>(keys, 0, bins);
  __syncthreads();
  AddCounts<kThreads, 0>(bins, args);
}

// Keeps what reaches the first digit of the k-th largest, in order, and counts the second digits of
// those that have it. grid: segments; sequences.
__global__ void __launch_bounds__(kThreads) KeepKernel(TopKArgs args) {
  const TopKSequence sequence = args.sequences[blockIdx.y];
  if (IsIdle(sequence)) return;
  __shared__ std::uint32_t bins[RadixBins(1)];
  __shared__ std::int32_t scratch[kThreads / kWarpLanes];
  float scores[kThreadScores];
  LoadScores(sequence, scores);
  Decider<kThreads, 0> first;
  first.Load(CountsOf(args, 0));
  Clear<kThreads, RadixBins(1)>(bins);
  const RadixState state = first.Decide({0, sequence.k});
  std::uint32_t keys[kThreadScores];
  KeysOf(scores, keys);
  CountDigits<1>(keys, state.prefix, bins);
  std::int32_t n_kept = 0;
#pragma unroll
  for (int i = 0; i < kThreadScores; ++i) {
    n_kept += static_cast<std::int32_t>(keys[i] >= state.prefix);
  }
  std::int32_t total = 0;
  TopKSurvivor* to = sequence.survivors + std::int64_t{blockIdx.x} * kTopKSegment +
                     BlockPrefix<kThreads>(n_kept, total, scratch);
#pragma unroll
  for (int i = 0; i < kThreadScores; ++i) {
    if (keys[i] >= state.prefix) *to++ = {keys[i], FirstOfThread() + i};
  }
  AddCounts<kThreads, 1>(bins, args);
  if (threadIdx.x != 0) return;
  sequence.n_survivors[blockIdx.x] = total;
  if (blockIdx.x != 0) return;
  const std::uint32_t of_digit = CountsOf(args, 0)[RadixDigit(state.prefix, 0)];
  args.rests[blockIdx.y] = {state, sequence.k - state.wanted + static_cast<std::int32_t>(of_digit)};
}

// Leaves of a segment's survivors those that reach the first two digits, and counts the last digits
// of those that have both.
__device__ void Narrow(const TopKSequence& sequence,
                       std::int32_t segment,
                       std::uint32_t prefix,
                       std::uint32_t* bins) {
  constexpr int kEach = kTopKSegment / kFinishThreads;
  __shared__ std::int32_t scratch[kFinishThreads / kWarpLanes];
  TopKSurvivor* survivors = sequence.survivors + std::int64_t{segment} * kTopKSegment;
  const std::int32_t n = sequence.n_survivors[segment];
  TopKSurvivor mine[kEach];
  std::uint32_t keys[kEach];
  std::int32_t n_kept = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const std::int32_t at = static_cast<std::int32_t>(threadIdx.x) * kEach + i;
    mine[i] = at < n ? survivors[at] : TopKSurvivor{0, 0};
    keys[i] = mine[i].key;
    n_kept += static_cast<std::int32_t>(keys[i] >= prefix);
  }
  CountDigits<2>(keys, prefix, bins);
  std::int32_t total = 0;
  TopKSurvivor* to = survivors + BlockPrefix<kFinishThreads>(n_kept, total, scratch);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (keys[i] >= prefix) *to++ = mine[i];
  }
  if (threadIdx.x == 0) sequence.n_survivors[segment] = total;
  __syncthreads();  // until the prefix was read
}

// Whether all of the sequence's blocks but this one are done; then it sees what they wrote.
__device__ bool IsLast(const TopKArgs& args, std::int32_t n_blocks) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(CountsOf(args, 0) + kTopKCounts - 1, 1U) + 1 == n_blocks;
    __threadfence();
  }
  __syncthreads();
  return last;
}

// Writes the rows of those above the k-th largest key, and of as many equal ones as are wanted.
__device__ void Emit(const TopKSequence& sequence,
                     const Lists<TopKSurvivor>& survivors,
                     RadixState limit) {
  __shared__ std::int32_t scratch[kFinishThreads / kWarpLanes];
  std::int32_t n_greater = 0;
  std::int32_t n_equal = 0;
  ForEachRun<kFinishThreads, kFinishEach>(survivors, [&](const TopKSurvivor(&run)[kFinishEach]) {
    std::int32_t count = 0;  // both counts in one number
#pragma unroll
    for (int i = 0; i < kFinishEach; ++i) {
      count += run[i].key > limit.prefix ? 1 : run[i].key == limit.prefix ? 1 << 16 : 0;
    }
    std::int32_t total = 0;
    const std::int32_t before = BlockPrefix<kFinishThreads>(count, total, scratch);
    std::int32_t greater = n_greater + (before & 0xFFFF);
    std::int32_t equal = n_equal + (before >> 16);
#pragma unroll
    for (int i = 0; i < kFinishEach; ++i) {
      const bool is_greater = run[i].key > limit.prefix;
      const bool is_equal = run[i].key == limit.prefix;
      if (is_greater || (is_equal && equal < limit.wanted)) {
        sequence.rows[RadixPosition(greater, equal, limit.wanted)] = sequence.first + run[i].j;
      }
      greater += static_cast<std::int32_t>(is_greater);
      equal += static_cast<std::int32_t>(is_equal);
    }
    n_greater += total & 0xFFFF;
    n_equal += total >> 16;
    return RadixPosition(n_greater, n_equal, limit.wanted) < sequence.k;
  });
}

// grid: blocks, all but the first of which are idle where few survived; sequences.
__global__ void __launch_bounds__(kFinishThreads, 1) FinishKernel(TopKArgs args) {
  Decider<kFinishThreads, 1> second;
  second.Load(CountsOf(args, 1));
  const TopKRest rest = args.rests[blockIdx.y];
  const TopKSequence sequence = args.sequences[blockIdx.y];
  const bool few = rest.n_survivors <= kFewSurvivors;
  if (IsIdle(sequence) || (few && blockIdx.x != 0)) return;
  __shared__ std::uint32_t bins[RadixBins(2)];
  Clear<kFinishThreads, RadixBins(2)>(bins);
  const RadixState state = second.Decide(rest.state);
  const std::int32_t n_segments = CeilDiv(sequence.n, kTopKSegment);
  const Lists<TopKSurvivor> survivors = {
      sequence.survivors, sequence.n_survivors, n_segments, kTopKSegment};
  Decider<kFinishThreads, 2> third;
  if (few) {
    ForEachRun<kFinishThreads, kFinishEach>(survivors, [&](const TopKSurvivor(&run)[kFinishEach]) {
      std::uint32_t keys[kFinishEach];
#pragma unroll
      for (int i = 0; i < kFinishEach; ++i) keys[i] = run[i].key;
      CountDigits<2>(keys, state.prefix, bins);
      return true;
    });
    third.Load(bins);
  } else {
    const auto n_blocks = static_cast<std::int32_t>(gridDim.x);
    for (std::int32_t i = blockIdx.x; i < n_segments; i += n_blocks) {
      Narrow(sequence, i, state.prefix, bins);
    }
    AddCounts<kFinishThreads, 2>(bins, args);
    if (!IsLast(args, n_blocks < n_segments ? n_blocks : n_segments)) return;
    third.Load(CountsOf(args, 2));
  }
  const RadixState limit = third.Decide(state);
  Emit(sequence, survivors, limit);
  Clear<kFinishThreads, kTopKCounts>(CountsOf(args, 0));
}

}  // namespace

cudaError_t LaunchTopK(const TopKArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_n == 0) return cudaSuccess;
  const std::int32_t n_segments = CeilDiv(args.max_n, kTopKSegment);
  const dim3 segments(n_segments, args.n_sequences);
  cudaError_t error = Launch(FirstDigitKernel, segments, kThreads, stream, args);
  if (error == cudaSuccess) error = Launch(KeepKernel, segments, kThreads, stream, args);
  if (error != cudaSuccess) return error;
  std::int32_t n_blocks = CeilDiv(kFinishBlocks, args.n_sequences);
  if (n_blocks > n_segments) n_blocks = n_segments;
  return Launch(FinishKernel, dim3(n_blocks, args.n_sequences), kFinishThreads, stream, args);
}

}  // namespace keyhole::cuda
