#include "engine/ops/cuda/kernels/attend.h"
#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/cuda/kernels/int8_head.h"
#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kLaneDims = 8;  // of a head, held by a lane

struct Bf16 {
  std::uint16_t bits;
};

__device__ void Load8(const Bf16* from, float (&x)[kLaneDims]) {
  const uint4 raw = *reinterpret_cast<const uint4*>(from);
  const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = LowBf16(words[i]);
    x[2 * i + 1] = HighBf16(words[i]);
  }
}

__device__ void Load8(const float* from, float (&x)[kLaneDims]) {
  const float4 a = reinterpret_cast<const float4*>(from)[0];
  const float4 b = reinterpret_cast<const float4*>(from)[1];
  x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
  x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}

struct Int8 {
  std::int8_t code;
};

// Eight values of a head of the keys or values of a row.
template <typename T>
__device__ void LoadHead8(
    const unsigned char* row, int kv_head, int head_dim, int dim, float (&x)[kLaneDims]) {
  Load8(reinterpret_cast<const T*>(row) + kv_head * head_dim + dim, x);
}

template <>
__device__ void LoadHead8<Int8>(
    const unsigned char* row, int kv_head, int head_dim, int dim, float (&x)[kLaneDims]) {
  const unsigned char* head = row + kv_head * HeadBytes(Element::kInt8, head_dim);
  LoadInt8x8(head, dim, Int8Scale(head, head_dim), x);
}

struct RowOffsets {
  std::int64_t key;  // -1: not seen
  std::int64_t value;
};

// kDim / 8 lanes hold a row, kHeads query heads of one KV head share it.
template <typename T, int kDim, int kHeads>
struct FewQueries {
  static constexpr int kRowLanes = kDim / kLaneDims;
  static constexpr int kRows = kWarpLanes / kRowLanes;  // side by side in a warp
  static constexpr int kTurns = kHeads > 4 ? 2 : 4;     // rows of a lane on their way at once

  const AttendArgs& args;
  const AttendSequence& sequence;
  RowOffsets* offsets;  // [32] of this warp, in shared memory
  int lane;
  int warp;
  int query;
  int kv_head;
  int first_head;  // of the query heads
  int n_heads;     // at most kHeads
  float max[kHeads];
  float sum[kHeads];
  float values[kHeads][kLaneDims];

  __device__ int dim() const { return lane % kRowLanes * kLaneDims; }

  __device__ void Clear() {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      max[h] = kNoScore;
      sum[h] = 0;
#pragma unroll
      for (int c = 0; c < kLaneDims; ++c) values[h][c] = 0;
    }
  }

  __device__ void LoadQueries(const AttendPart& part, float (&q)[kHeads][kLaneDims]) const {
    const float scale = args.softmax_scale * part.scale * kLog2E;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const bool there = h < n_heads && dim() < args.head_dim;
      const float* from =
          part.queries +
          (std::int64_t{query} * args.n_heads + first_head + (there ? h : 0)) * args.head_dim;
#pragma unroll
      for (int c = 0; c < kLaneDims; ++c) q[h][c] = there ? from[dim() + c] * scale : 0;
    }
  }

  // Each lane finds one row of the next 32.
  __device__ void FindRows(const AttendPart& part, int first, int last) {
    RowOffsets found = {-1, -1};
    const int i = first + lane;
    if (i < last) {
      const std::int32_t row = part.rows == nullptr ? part.begin + i : part.rows[i];
      if (part.causal_from < 0 || row <= part.causal_from + query) {
        found.key = RowOffset(part.keys, sequence.pages, args.layer, row);
        found.value = RowOffset(part.values, sequence.pages, args.layer, row);
      }
    }
    __syncwarp();
    offsets[lane] = found;
    __syncwarp();
  }

  // Rows [first, last) of a part, 32 at a time for each warp.
  __device__ void Add(const AttendPart& part, int first, int last) {
    float q[kHeads][kLaneDims];
    LoadQueries(part, q);
    const float bias = part.bias == nullptr ? 0 : part.bias[query] * kLog2E;
    const bool there = dim() < args.head_dim;
    for (int begin = first + warp * kWarpLanes; begin < last; begin += kThreads) {
      FindRows(part, begin, last);
      for (int r = 0; r < kWarpLanes && begin + r < last; r += kRows * kTurns) {
        float k[kTurns][kLaneDims];
        float v[kTurns][kLaneDims];
        bool seen[kTurns];
#pragma unroll
        for (int turn = 0; turn < kTurns; ++turn) {
          const RowOffsets at = offsets[r + turn * kRows + lane / kRowLanes];
          seen[turn] = at.key >= 0;
#pragma unroll
          for (int c = 0; c < kLaneDims; ++c) k[turn][c] = v[turn][c] = 0;
          if (seen[turn] && there) {
            const int d = args.head_dim;
            LoadHead8<T>(part.keys.base + at.key, kv_head, d, dim(), k[turn]);
            LoadHead8<T>(part.values.base + at.value, kv_head, d, dim(), v[turn]);
          }
        }
        AddRows(q, k, v, seen, bias);
      }
    }
  }

  __device__ void AddRows(const float (&q)[kHeads][kLaneDims],
                          const float (&k)[kTurns][kLaneDims],
                          const float (&v)[kTurns][kLaneDims],
                          const bool (&seen)[kTurns],
                          float bias) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float scores[kTurns];
      float top = max[h];
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn) {
        float dot = 0;
#pragma unroll
        for (int c = 0; c < kLaneDims; ++c) dot += q[h][c] * k[turn][c];
        dot = WarpReduce<kRowLanes>(dot, Sum{});
        scores[turn] = seen[turn] ? dot + bias : kNoScore;
        top = fmaxf(top, scores[turn]);
      }
      const float base = SafeMax(top);
      const float correction = exp2f(max[h] - base);
      max[h] = top;
      sum[h] *= correction;
#pragma unroll
      for (int c = 0; c < kLaneDims; ++c) values[h][c] *= correction;
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn) {
        const float weight = exp2f(scores[turn] - base);
        sum[h] += weight;
#pragma unroll
        for (int c = 0; c < kLaneDims; ++c) values[h][c] += weight * v[turn][c];
      }
    }
  }

  // The rows side by side in the warp become one result, in the first kRowLanes lanes.
  __device__ void MergeWarp() {
#pragma unroll
    for (int mask = kRowLanes; mask < kWarpLanes; mask *= 2) {
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        const float other_max = __shfl_xor_sync(kAllLanes, max[h], mask);
        const float other_sum = __shfl_xor_sync(kAllLanes, sum[h], mask);
        const float top = fmaxf(max[h], other_max);
        const float mine = exp2f(max[h] - SafeMax(top));
        const float others = exp2f(other_max - SafeMax(top));
        max[h] = top;
        sum[h] = sum[h] * mine + other_sum * others;
#pragma unroll
        for (int c = 0; c < kLaneDims; ++c) {
          const float other = __shfl_xor_sync(kAllLanes, values[h][c], mask);
          values[h][c] = values[h][c] * mine + other * others;
        }
      }
    }
  }
};

// What the warps of a block found, for kHeads heads.
template <int kDim, int kHeads>
struct BlockResult {
  SoftmaxState states[kWarps][kHeads];
  float values[kWarps][kHeads][kDim];
};

// Warps in order, then to the output or the partial results.
template <int kDim, int kHeads>
__device__ void WriteResult(const AttendArgs& args,
                            const AttendSequence& sequence,
                            const BlockResult<kDim, kHeads>& result,
                            int query,
                            int first_head,
                            int n_heads) {
  for (int i = threadIdx.x; i < n_heads * kDim; i += kThreads) {
    const int h = i / kDim;
    const int c = i % kDim;
    float top = kNoScore;
    for (int w = 0; w < kWarps; ++w) top = fmaxf(top, result.states[w][h].max);
    float sum = 0;
    float value = 0;
    for (int w = 0; w < kWarps; ++w) {
      const float weight = exp2f(result.states[w][h].max - SafeMax(top));
      sum += result.states[w][h].sum * weight;
      value += result.values[w][h][c] * weight;
    }
    if (c >= args.head_dim) continue;
    const std::int64_t vector = std::int64_t{query} * args.n_heads + first_head + h;
    if (sequence.n_splits == 1) {
      sequence.out[vector * args.head_dim + c] = sum == 0 ? 0 : value / sum;
      continue;
    }
    const std::int64_t at =
        sequence.partial + std::int64_t{blockIdx.x} * sequence.q_len * args.n_heads + vector;
    args.partial_values[at * args.head_dim + c] = value;
    if (c == 0) args.partial_states[at] = {top, sum};
  }
}

// grid: splits; queries, KV heads and tiles of their query heads; sequences.
template <typename T, int kDim, int kHeads>
__global__ void __launch_bounds__(kThreads) AttendFewKernel(AttendArgs args) {
  using Few = FewQueries<T, kDim, kHeads>;
  const AttendSequence& sequence = args.sequences[blockIdx.z];
  const int group = args.n_heads / args.n_kv_heads;
  const int tiles = CeilDiv(group, kHeads);
  const int tile = blockIdx.y % tiles;
  const int kv_head = blockIdx.y / tiles % args.n_kv_heads;
  const int query = blockIdx.y / tiles / args.n_kv_heads;
  const int split = blockIdx.x;
  if (split >= sequence.n_splits || query >= sequence.q_len) return;
  __shared__ RowOffsets offsets[kWarps][kWarpLanes];
  __shared__ BlockResult<kDim, kHeads> result;

  const int warp = threadIdx.x / kWarpLanes;
  const int left = group - tile * kHeads;
  Few few = {.args = args,
             .sequence = sequence,
             .offsets = offsets[warp],
             .lane = static_cast<int>(threadIdx.x) % kWarpLanes,
             .warp = warp,
             .query = query,
             .kv_head = kv_head,
             .first_head = kv_head * group + tile * kHeads,
             .n_heads = left < kHeads ? left : kHeads,
             .max = {},
             .sum = {},
             .values = {}};
  few.Clear();
  const std::int32_t begin = split * sequence.split_rows;
  const std::int32_t end = begin + sequence.split_rows;
  for (int p = 0; p < sequence.n_parts; ++p) {
    const AttendPart& part = sequence.parts[p];
    const int first = begin < part.offset ? 0 : begin - part.offset;
    const int last = end < part.offset + part.count ? end - part.offset : part.count;
    if (first < last) few.Add(part, first, last);
  }
  few.MergeWarp();
  if (few.lane < Few::kRowLanes) {
    for (int h = 0; h < kHeads; ++h) {
      if (few.lane == 0) result.states[warp][h] = {few.max[h], few.sum[h]};
      for (int c = 0; c < kLaneDims; ++c) {
        result.values[warp][h][few.dim() + c] = few.values[h][c];
      }
    }
  }
  __syncthreads();
  WriteResult(args, sequence, result, query, few.first_head, few.n_heads);
}

template <typename T, int kDim>
cudaError_t LaunchForDim(const AttendArgs& args, cudaStream_t stream) {
  const int group = args.n_heads / args.n_kv_heads;
  const auto grid = [&](int heads) {
    return dim3(args.max_splits,
                args.max_q_len * args.n_kv_heads * CeilDiv(group, heads),
                args.n_sequences);
  };
  if (group == 1) return Launch(AttendFewKernel<T, kDim, 1>, grid(1), kThreads, stream, args);
  if (group <= 4) return Launch(AttendFewKernel<T, kDim, 4>, grid(4), kThreads, stream, args);
  return Launch(AttendFewKernel<T, kDim, 8>, grid(8), kThreads, stream, args);
}

template <typename T>
cudaError_t LaunchForType(const AttendArgs& args, cudaStream_t stream) {
  return args.head_dim <= 64 ? LaunchForDim<T, 64>(args, stream)
                             : LaunchForDim<T, 128>(args, stream);
}

}  // namespace

cudaError_t LaunchAttendFew(const AttendArgs& args, cudaStream_t stream) {
  if (args.n_sequences == 0 || args.max_q_len == 0) return cudaSuccess;
  switch (args.type) {
    case Element::kF32:
      return LaunchForType<float>(args, stream);
    case Element::kBF16:
      return LaunchForType<Bf16>(args, stream);
    case Element::kInt8:
      break;
  }
  return LaunchForType<Int8>(args, stream);
}

}  // namespace keyhole::cuda
