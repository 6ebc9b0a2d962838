#include "engine/ops/cuda/kernels/score_rows.h"

#include <limits>

#include "engine/ops/cuda/kernels/ptx.h"
#include "engine/ops/cuda/kernels/reduce.h"
#include "engine/ops/cuda/kernels/score_spans.h"
#include "engine/ops/cuda/kernels/softmax_state.h"

namespace keyhole::cuda {
namespace {

constexpr int kReduceThreads = 128;
constexpr int kReduceWarps = kReduceThreads / kWarpLanes;
constexpr int kTotalsThreads = 128;
constexpr int kTotalsEach = kMaxScoreSpans / kTotalsThreads;  // spans of a thread
constexpr int kWriteThreads = 128;
constexpr int kWriteWarps = kWriteThreads / kWarpLanes;
constexpr int kWarpTokens = kWarpLanes * kLaneTokens;
constexpr int kChunk = 4;  // queries whose products are made side by side
constexpr std::int32_t kNoProduct = std::numeric_limits<std::int32_t>::min();

__device__ float Power(std::int32_t difference, float scale) {
  return Exp2(static_cast<float>(difference) * scale);
}

// The state of both sets of candidates, relative to the larger maximum.
__device__ ScoreState Merge(ScoreState a, ScoreState b, float scale) {
  const std::int32_t top = a.top < b.top ? b.top : a.top;
  if (top == kNoProduct) return a;
  float sum = 0;
  if (a.top != kNoProduct) sum = a.sum * Power(a.top - top, scale);
  if (b.top != kNoProduct) sum += b.sum * Power(b.top - top, scale);
  return {top, sum};
}

// The queries of one group, all probes, in chunks. Past the end it repeats the last query.
struct Queries {
  const std::int32_t* words;  // of all queries
  std::int32_t quads;         // words of a query
  std::int32_t n_heads;
  std::int32_t heads;  // of a group
  std::int32_t first_head;
  std::int32_t count;  // of the group: probes * heads

  __device__ std::int32_t Index(int i) const {
    if (i >= count) i = count - 1;
    return i / heads * n_heads + first_head + i % heads;
  }
};

__device__ Queries QueriesOf(const ScoreRowsArgs& args, const ScoreSequence& sequence, int group) {
  const std::int32_t heads = args.n_heads / args.n_groups;
  return {reinterpret_cast<const std::int32_t*>(sequence.queries),
          args.rank / 4,
          args.n_heads,
          heads,
          group * heads,
          sequence.n_probes * heads};
}

// products[q][i]: of query first + q and the i-th of the lane's four tokens, whose codes of quad 0
// are at `codes`.
__device__ void Products(const Queries& queries,
                         int first,
                         const unsigned char* codes,
                         std::int32_t (&products)[kChunk][kLaneTokens]) {
  const std::int32_t* words[kChunk];
#pragma unroll
  for (int q = 0; q < kChunk; ++q) {
    words[q] = queries.words + std::int64_t{queries.Index(first + q)} * queries.quads;
#pragma unroll
    for (int i = 0; i < kLaneTokens; ++i) products[q][i] = 0;
  }
#pragma unroll 4
  for (int quad = 0; quad < queries.quads; ++quad) {
    const uint4 biased = *reinterpret_cast<const uint4*>(codes + quad * kQuadBytes);
    const std::int32_t tokens[kLaneTokens] = {static_cast<std::int32_t>(biased.x ^ kToSigned),
                                              static_cast<std::int32_t>(biased.y ^ kToSigned),
                                              static_cast<std::int32_t>(biased.z ^ kToSigned),
                                              static_cast<std::int32_t>(biased.w ^ kToSigned)};
#pragma unroll
    for (int q = 0; q < kChunk; ++q) {
      const std::int32_t word = words[q][quad];
#pragma unroll
      for (int i = 0; i < kLaneTokens; ++i) {
        products[q][i] = __dp4a(tokens[i], word, products[q][i]);
      }
    }
  }
}

__device__ std::int32_t AlignedBegin(const ScoreSequence& sequence) {
  return sequence.begin / kBlockTokens * kBlockTokens;
}

// Adds the lane's four tokens to the state of a query.
__device__ ScoreState AddTokens(ScoreState state,
                                const std::int32_t (&products)[kLaneTokens],
                                const bool (&inside)[kLaneTokens],
                                float scale,
                                bool sums) {
  ScoreState tokens = {kNoProduct, 0};
#pragma unroll
  for (int i = 0; i < kLaneTokens; ++i) {
    if (inside[i] && tokens.top < products[i]) tokens.top = products[i];
  }
  if (!sums || tokens.top == kNoProduct) {
    return {state.top < tokens.top ? tokens.top : state.top, 0};
  }
  const std::int32_t top = state.top < tokens.top ? tokens.top : state.top;
  float sum = state.top == kNoProduct ? 0 : state.sum * Power(state.top - top, scale);
#pragma unroll
  for (int i = 0; i < kLaneTokens; ++i) {
    if (inside[i]) sum += Power(products[i] - top, scale);
  }
  return {top, sum};
}

__device__ ScoreState WarpMerge(ScoreState state, float scale) {
#pragma unroll
  for (int mask = kWarpLanes / 2; mask > 0; mask /= 2) {
    const ScoreState other = {__shfl_xor_sync(kAllLanes, state.top, mask),
                              __shfl_xor_sync(kAllLanes, state.sum, mask)};
    state = Merge(state, other, scale);
  }
  return state;
}

// Maxima and sums of the queries of one group over one span. Groups of a block of tokens are
// neighbours in memory, and so are those who read them. grid: groups; spans; sequences.
__global__ void __launch_bounds__(kReduceThreads) ReduceKernel(ScoreRowsArgs args) {
  const ScoreSequence& sequence = args.sequences[blockIdx.z];
  const int span = blockIdx.y;
  if (span >= sequence.n_spans) return;
  const int group = blockIdx.x;
  const int warp = threadIdx.x / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const bool sums = args.rule == ScoreRule::kVote;
  const Queries queries = QueriesOf(args, sequence, group);
  const std::int32_t begin = AlignedBegin(sequence) + span * sequence.span_tokens;
  const std::int32_t end =
      begin + sequence.span_tokens < sequence.end ? begin + sequence.span_tokens : sequence.end;
  __shared__ ScoreState warps[kReduceWarps][kChunk];

  for (int first = 0; first < queries.count; first += kChunk) {
    float scales[kChunk];
    ScoreState states[kChunk];
#pragma unroll
    for (int q = 0; q < kChunk; ++q) {
      scales[q] = sequence.scales[queries.Index(first + q)] * kLog2E;
      states[q] = {kNoProduct, 0};
    }
    for (std::int32_t token = begin + warp * kWarpTokens + lane * kLaneTokens; token < end;
         token += kReduceWarps * kWarpTokens) {
      const unsigned char* codes =
          sequence.digests.base +
          DigestOffset(sequence.digests, sequence.pages, args.slot, token, group);
      std::int32_t products[kChunk][kLaneTokens];
      Products(queries, first, codes, products);
      bool inside[kLaneTokens];
#pragma unroll
      for (int i = 0; i < kLaneTokens; ++i) {
        inside[i] = token + i >= sequence.begin && token + i < end;
      }
#pragma unroll
      for (int q = 0; q < kChunk; ++q) {
        states[q] = AddTokens(states[q], products[q], inside, scales[q], sums);
      }
    }
#pragma unroll
    for (int q = 0; q < kChunk; ++q) {
      states[q] = WarpMerge(states[q], scales[q]);
      if (lane == 0) warps[warp][q] = states[q];
    }
    __syncthreads();
    if (threadIdx.x < kChunk && first + static_cast<int>(threadIdx.x) < queries.count) {
      const std::int32_t query = queries.Index(first + threadIdx.x);
      const float scale = sequence.scales[query] * kLog2E;
      ScoreState state = warps[0][threadIdx.x];
      for (int w = 1; w < kReduceWarps; ++w) state = Merge(state, warps[w][threadIdx.x], scale);
      sequence.parts[std::int64_t{query} * sequence.n_spans + span] = state;
    }
    __syncthreads();
  }
}

// grid: queries; sequences.
__global__ void __launch_bounds__(kTotalsThreads) TotalsKernel(ScoreRowsArgs args) {
  const ScoreSequence& sequence = args.sequences[blockIdx.y];
  const int query = blockIdx.x;
  if (query >= sequence.n_probes * args.n_heads || sequence.n_spans == 0) return;
  const float scale = sequence.scales[query] * kLog2E;
  const ScoreState* parts = sequence.parts + std::int64_t{query} * sequence.n_spans;
  ScoreState mine[kTotalsEach];
#pragma unroll
  for (int i = 0; i < kTotalsEach; ++i) {
    const int span = i * kTotalsThreads + static_cast<int>(threadIdx.x);
    mine[i] = span < sequence.n_spans ? parts[span] : ScoreState{kNoProduct, 0};
  }
  __shared__ ScoreState warps[kTotalsThreads / kWarpLanes];
  ScoreState state = mine[0];
#pragma unroll
  for (int i = 1; i < kTotalsEach; ++i) state = Merge(state, mine[i], scale);
  state = WarpMerge(state, scale);
  if (threadIdx.x % kWarpLanes == 0) warps[threadIdx.x / kWarpLanes] = state;
  __syncthreads();
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int w = 1; w < kTotalsThreads / kWarpLanes; ++w) state = Merge(state, warps[w], scale);
  sequence.totals[query] = {state.top, args.rule == ScoreRule::kVote ? log2f(state.sum) : 0};
}

// What a lane looks at: four tokens, and of the groups every kSharers-th from its own on. As many
// warps share the groups of the same tokens, so that few tokens keep many warps busy.
template <int kSharers>
struct Tokens {
  static constexpr int kTileTokens = kWriteWarps / kSharers * kWarpTokens;  // of a block

  const ScoreRowsArgs& args;
  const ScoreSequence& sequence;
  std::int32_t first;
  int sharer;

  __device__ const unsigned char* CodesOf(int group) const {
    return sequence.digests.base +
           DigestOffset(sequence.digests, sequence.pages, args.slot, first, group);
  }

  // One probe's votes.
  __device__ void AddVotes(int probe, float (&votes)[kLaneTokens]) const {
    const std::int32_t heads = args.n_heads / args.n_groups;
    for (int group = sharer; group < args.n_groups; group += kSharers) {
      const Queries queries = QueriesOf(args, sequence, group);
      const unsigned char* codes = CodesOf(group);
      const int end = (probe + 1) * heads;
      for (int at = probe * heads; at < end; at += kChunk) {
        std::int32_t products[kChunk][kLaneTokens];
        Products(queries, at, codes, products);
#pragma unroll
        for (int q = 0; q < kChunk; ++q) {
          if (at + q >= end) break;
          const std::int32_t query = queries.Index(at + q);
          const float scale = sequence.scales[query] * kLog2E;
          const ScoreState total = sequence.totals[query];
#pragma unroll
          for (int i = 0; i < kLaneTokens; ++i) {
            votes[i] += Exp2(static_cast<float>(products[q][i] - total.top) * scale - total.sum);
          }
        }
      }
    }
  }

  // The largest shifted products.
  __device__ void TakeShifts(float (&best)[kLaneTokens]) const {
    for (int group = sharer; group < args.n_groups; group += kSharers) {
      const Queries queries = QueriesOf(args, sequence, group);
      const unsigned char* codes = CodesOf(group);
      for (int at = 0; at < queries.count; at += kChunk) {
        std::int32_t products[kChunk][kLaneTokens];
        Products(queries, at, codes, products);
#pragma unroll
        for (int q = 0; q < kChunk; ++q) {
          const std::int32_t query = queries.Index(at + q);
          const float scale = sequence.scales[query];
          const std::int32_t top = sequence.totals[query].top;
#pragma unroll
          for (int i = 0; i < kLaneTokens; ++i) {
            best[i] = fmaxf(best[i], static_cast<float>(products[q][i] - top) * scale);
          }
        }
      }
    }
  }

  // The first sharer gets what all of them found, in their order. `scratch` is shared memory of
  // this call alone until the next but one.
  template <typename Op>
  __device__ void Join(float (&x)[kLaneTokens],
                       Op op,
                       float (&scratch)[kWriteWarps][kWarpLanes][kLaneTokens]) const {
    if constexpr (kSharers == 1) return;
    const int warp = threadIdx.x / kWarpLanes;
    const int lane = threadIdx.x % kWarpLanes;
#pragma unroll
    for (int i = 0; i < kLaneTokens; ++i) scratch[warp][lane][i] = x[i];
    __syncthreads();
    if (sharer != 0) return;
#pragma unroll
    for (int other = 1; other < kSharers; ++other) {
#pragma unroll
      for (int i = 0; i < kLaneTokens; ++i) x[i] = op(x[i], scratch[warp + other][lane][i]);
    }
  }
};

// grid: tiles of candidates; sequences.
template <int kSharers>
__global__ void __launch_bounds__(kWriteThreads) WriteKernel(ScoreRowsArgs args) {
  using TokensOfLane = Tokens<kSharers>;
  const ScoreSequence& sequence = args.sequences[blockIdx.y];
  const int warp = threadIdx.x / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const std::int32_t tile =
      AlignedBegin(sequence) + static_cast<std::int32_t>(blockIdx.x) * TokensOfLane::kTileTokens;
  if (tile >= sequence.end || sequence.n_spans == 0) return;
  __shared__ float scratch[2][kWriteWarps][kWarpLanes][kLaneTokens];
  const TokensOfLane tokens = {.args = args,
                               .sequence = sequence,
                               .first = tile + warp / kSharers * kWarpTokens + lane * kLaneTokens,
                               .sharer = warp % kSharers};
  const bool there = tokens.first < sequence.end;
  float best[kLaneTokens] = {kNoScore, kNoScore, kNoScore, kNoScore};
  if (args.rule == ScoreRule::kVote) {
    for (int probe = 0; probe < sequence.n_probes; ++probe) {
      float votes[kLaneTokens] = {};
      if (there) tokens.AddVotes(probe, votes);
      tokens.Join(votes, Sum{}, scratch[probe % 2]);
#pragma unroll
      for (int i = 0; i < kLaneTokens; ++i) best[i] = fmaxf(best[i], votes[i]);
    }
  } else {
    if (there) tokens.TakeShifts(best);
    tokens.Join(best, Max{}, scratch[0]);
  }
  if (!there || tokens.sharer != 0) return;
#pragma unroll
  for (int i = 0; i < kLaneTokens; ++i) {
    const std::int32_t row = tokens.first + i;
    if (row >= sequence.begin && row < sequence.end) sequence.out[row - sequence.begin] = best[i];
  }
}

template <int kSharers>
cudaError_t LaunchWrite(const ScoreRowsArgs& args, cudaStream_t stream) {
  const dim3 tiles(CeilDiv(args.max_candidates, Tokens<kSharers>::kTileTokens), args.n_sequences);
  return Launch(WriteKernel<kSharers>, tiles, kWriteThreads, stream, args);
}

}  // namespace

cudaError_t LaunchScoreRows(const ScoreRowsArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_spans == 0) return cudaSuccess;
  const dim3 spans(args.n_groups, args.max_spans, args.n_sequences);
  if (cudaError_t error = Launch(ReduceKernel, spans, kReduceThreads, stream, args);
      error != cudaSuccess) {
    return error;
  }
  const dim3 queries(args.max_queries, args.n_sequences);
  if (cudaError_t error = Launch(TotalsKernel, queries, kTotalsThreads, stream, args);
      error != cudaSuccess) {
    return error;
  }
  if (args.n_groups == 1) return LaunchWrite<1>(args, stream);
  return args.n_groups == 2 ? LaunchWrite<2>(args, stream) : LaunchWrite<4>(args, stream);
}

}  // namespace keyhole::cuda
