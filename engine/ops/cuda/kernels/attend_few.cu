#include "engine/ops/cuda/kernels/attend.h"
#include "engine/ops/cuda/kernels/attend_split.h"
#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/cuda/kernels/int8_head.h"
#include "engine/ops/cuda/kernels/ptx.h"
#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kLaneDims = 8;  // of a head, held by a lane

// Eight values of a head as they lie in memory, so that those of several rows can be on their way
// before the first become numbers.
struct Bf16x8 {
  static constexpr Element kType = Element::kBF16;
  uint4 raw;

  __device__ void Load(const unsigned char* head, int /*head_dim*/, int dim) {
    raw = LoadOnce16(head + dim * sizeof(std::uint16_t));
  }
  __device__ void Unpack(float (&x)[kLaneDims]) const {
    const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < kLaneDims; ++i) {
      x[i] = i % 2 == 0 ? LowBf16(words[i / 2]) : HighBf16(words[i / 2]);
    }
  }
};

struct F32x8 {
  static constexpr Element kType = Element::kF32;
  float4 low;
  float4 high;

  __device__ void Load(const unsigned char* head, int /*head_dim*/, int dim) {
    const auto* from = reinterpret_cast<const float4*>(head) + dim / 4;
    low = __ldg(from);
    high = __ldg(from + 1);
  }
  __device__ void Unpack(float (&x)[kLaneDims]) const {
    x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
    x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
  }
};

struct Int8x8 {
  static constexpr Element kType = Element::kInt8;
  std::uint32_t words[2];
  float scale;

  __device__ void Load(const unsigned char* head, int head_dim, int dim) {
    const auto* from = reinterpret_cast<const std::uint32_t*>(head + dim);
    words[0] = __ldg(from);
    words[1] = __ldg(from + 1);
    scale = Int8Scale(head, head_dim);
  }
  __device__ void Unpack(float (&x)[kLaneDims]) const {
#pragma unroll
    for (int i = 0; i < kLaneDims; ++i) x[i] = scale * Int8Code(words[i / 4], i % 4);
  }
};

// Of one KV head of a row.
struct RowHead {
  const unsigned char* key;
  const unsigned char* value;
};

// kDim / 8 lanes hold a row, kHeads query heads of one KV head share it.
template <typename T, int kDim, int kHeads>
struct FewQueries {
  static constexpr int kRowLanes = kDim / kLaneDims;
  static constexpr int kRows = kWarpLanes / kRowLanes;  // side by side in a warp
  // Rows of a lane on their way at once: as many as there are registers for.
  static constexpr int kTurns = T::kType == Element::kF32 ? 2 : 4;

  const AttendArgs& args;
  const AttendSequence& sequence;
  RowHead* heads;  // [32] of this warp, in shared memory
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

  // Each lane finds one row of the next 32. Those behind the last are copies of it.
  __device__ void FindRows(const AttendPart& part, int first, int last) {
    const int i = first + lane < last ? first + lane : last - 1;
    const std::int32_t row = part.rows == nullptr ? part.begin + i : part.rows[i];
    const std::int64_t at = std::int64_t{kv_head} * HeadBytes(T::kType, args.head_dim);
    const RowHead found = {
        part.keys.base + RowOffset(part.keys, sequence.pages, args.layer, row) + at,
        part.values.base + RowOffset(part.values, sequence.pages, args.layer, row) + at};
    __syncwarp();
    heads[lane] = found;
    __syncwarp();
  }

  // Rows [first, last) of a part, 32 at a time for each warp. A lane beyond head_dim reads what
  // another one does: its queries are zeros, and its values are not written.
  __device__ void Add(const AttendPart& part, int first, int last) {
    float q[kHeads][kLaneDims];
    LoadQueries(part, q);
    const float bias = part.bias == nullptr ? 0 : part.bias[query] * kLog2E;
    const int d = args.head_dim;
    const int at_dim = dim() < d ? dim() : 0;
    for (int begin = first + warp * kWarpLanes; begin < last; begin += kThreads) {
      FindRows(part, begin, last);
      for (int r = 0; r < kWarpLanes && begin + r < last; r += kRows * kTurns) {
        T k[kTurns];
        T v[kTurns];
#pragma unroll
        for (int turn = 0; turn < kTurns; ++turn) {
          const RowHead head = heads[r + turn * kRows + lane / kRowLanes];
          k[turn].Load(head.key, d, at_dim);
          v[turn].Load(head.value, d, at_dim);
        }
        AddRows(q, k, v, last - begin - r - lane / kRowLanes, bias);
      }
    }
  }

  // `left`: from this lane's first row to the last.
  __device__ void AddRows(const float (&q)[kHeads][kLaneDims],
                          const T (&k)[kTurns],
                          const T (&v)[kTurns],
                          int left,
                          float bias) {
    float weights[kHeads][kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      float x[kLaneDims];
      k[turn].Unpack(x);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        float dot = 0;
#pragma unroll
        for (int c = 0; c < kLaneDims; ++c) dot += q[h][c] * x[c];
        dot = WarpReduce<kRowLanes>(dot, Sum{});
        weights[h][turn] = turn * kRows < left ? dot + bias : kNoScore;
      }
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) Weigh(h, weights[h]);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      float x[kLaneDims];
      v[turn].Unpack(x);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
#pragma unroll
        for (int c = 0; c < kLaneDims; ++c) values[h][c] += weights[h][turn] * x[c];
      }
    }
  }

  // Scores become weights relative to the maximum so far.
  __device__ void Weigh(int h, float (&scores)[kTurns]) {
    float top = max[h];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) top = fmaxf(top, scores[turn]);
    const float base = SafeMax(top);
    const float correction = Exp2(max[h] - base);
    max[h] = top;
    sum[h] *= correction;
#pragma unroll
    for (int c = 0; c < kLaneDims; ++c) values[h][c] *= correction;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      scores[turn] = Exp2(scores[turn] - base);
      sum[h] += scores[turn];
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
        const float mine = Exp2(max[h] - SafeMax(top));
        const float others = Exp2(other_max - SafeMax(top));
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
      const float weight = Exp2(result.states[w][h].max - SafeMax(top));
      sum += result.states[w][h].sum * weight;
      value += result.values[w][h][c] * weight;
    }
    if (c >= args.head_dim) continue;
    const std::int64_t vector = std::int64_t{query} * args.n_heads + first_head + h;
    if (sequence.n_splits == 1) {
      Store(sum == 0 ? 0 : value / sum, vector * args.head_dim + c, sequence.out, sequence.rounded);
      continue;
    }
    const std::int64_t at =
        sequence.partial + std::int64_t{blockIdx.y} * sequence.q_len * args.n_heads + vector;
    args.partial_values[at * args.head_dim + c] = value;
    if (c == 0) args.partial_states[at] = {top, sum};
  }
}

// grid: queries, KV heads and tiles of their query heads; splits; sequences.
template <typename T, int kDim, int kHeads>
__global__ void __launch_bounds__(kThreads, FewResidents(kHeads)) AttendFewKernel(AttendArgs args) {
  using Few = FewQueries<T, kDim, kHeads>;
  const AttendSequence& sequence = args.sequences[blockIdx.z];
  const int group = args.n_heads / args.n_kv_heads;
  const int tiles = CeilDiv(group, kHeads);
  const int tile = blockIdx.x % tiles;
  const int kv_head = blockIdx.x / tiles % args.n_kv_heads;
  const int query = blockIdx.x / tiles / args.n_kv_heads;
  const int split = blockIdx.y;
  if (split >= sequence.n_splits || query >= sequence.q_len) return;
  __shared__ RowHead heads[kWarps][kWarpLanes];
  __shared__ BlockResult<kDim, kHeads> result;

  const int warp = threadIdx.x / kWarpLanes;
  const int left = group - tile * kHeads;
  Few few = {.args = args,
             .sequence = sequence,
             .heads = heads[warp],
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
    int last = end < part.offset + part.count ? end - part.offset : part.count;
    if (part.causal_from >= 0 && part.causal_from + query + 1 - part.begin < last) {
      last = part.causal_from + query + 1 - part.begin;
    }
    if (first < last) few.Add(part, first, last);
  }
  few.MergeWarp();
  if (few.lane < Few::kRowLanes) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      if (few.lane == 0) result.states[warp][h] = {few.max[h], few.sum[h]};
#pragma unroll
      for (int c = 0; c < kLaneDims; ++c) {
        result.values[warp][h][few.dim() + c] = few.values[h][c];
      }
    }
  }
  __syncthreads();
  WriteResult(args, sequence, result, query, few.first_head, few.n_heads);
}

template <typename T, int kDim, int kHeads>
cudaError_t LaunchForHeads(const AttendArgs& args, cudaStream_t stream) {
  const int tiles = CeilDiv(args.n_heads / args.n_kv_heads, kHeads);
  const dim3 grid(args.max_q_len * args.n_kv_heads * tiles, args.max_splits, args.n_sequences);
  return Launch(AttendFewKernel<T, kDim, kHeads>, grid, kThreads, stream, args);
}

template <typename T, int kDim>
cudaError_t LaunchForDim(const AttendArgs& args, cudaStream_t stream) {
  switch (FewHeads(args.n_heads / args.n_kv_heads)) {
    case 1:
      return LaunchForHeads<T, kDim, 1>(args, stream);
    case 4:
      return LaunchForHeads<T, kDim, 4>(args, stream);
    default:
      return LaunchForHeads<T, kDim, 8>(args, stream);
  }
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
      return LaunchForType<F32x8>(args, stream);
    case Element::kBF16:
      return LaunchForType<Bf16x8>(args, stream);
    case Element::kInt8:
      break;
  }
  return LaunchForType<Int8x8>(args, stream);
}

}  // namespace keyhole::cuda
