#include "engine/ops/cuda/kernels/rotate_keys.h"

#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/cuda/kernels/int8_head.h"
#include "engine/ops/cuda/kernels/launch.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float Load(Element type, const unsigned char* from, int at) {
  if (type == Element::kF32) return reinterpret_cast<const float*>(from)[at];
  return Bf16ToFloat(reinterpret_cast<const std::uint16_t*>(from)[at]);
}

__device__ void Store(Element type, unsigned char* to, int at, float x) {
  if (type == Element::kF32) {
    reinterpret_cast<float*>(to)[at] = x;
  } else {
    reinterpret_cast<std::uint16_t*>(to)[at] = static_cast<std::uint16_t>(FloatToBf16(x));
  }
}

// A thread turns one pair of values. grid: pairs of a sequence's rows; sequences.
__global__ void __launch_bounds__(kThreads) RotateKeysKernel(RotateKeysArgs args) {
  const RotateKeysSequence& sequence = args.sequences[blockIdx.y];
  const int pairs = args.n_heads * args.half;
  const std::int64_t index = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t nth = index / pairs;
  if (nth >= sequence.n_rows) return;
  const auto pair = static_cast<int>(index - nth * pairs);
  const int head = pair / args.half;
  const int i = pair - head * args.half;
  const int row = sequence.begin + static_cast<int>(nth);
  const unsigned char* from =
      sequence.from.base + RowOffset(sequence.from, sequence.pages, args.layer, row);
  unsigned char* to = sequence.to.base + RowOffset(sequence.to, nullptr, args.layer, row);
  const int at = head * 2 * args.half + i;
  const float cos = args.cos[std::int64_t{row} * args.half + i];
  const float sin = args.sin[std::int64_t{row} * args.half + i];
  const float first = Load(args.type, from, at);
  const float second = Load(args.type, from, at + args.half);
  Store(args.type, to, at, __fsub_rn(__fmul_rn(first, cos), __fmul_rn(second, sin)));
  Store(args.type, to, at + args.half, __fadd_rn(__fmul_rn(second, cos), __fmul_rn(first, sin)));
}

constexpr int kWarps = kThreads / kWarpLanes;

// A warp turns one head. grid: heads of a sequence's rows; sequences.
__global__ void __launch_bounds__(kThreads) RotateInt8Kernel(RotateKeysArgs args) {
  const RotateKeysSequence& sequence = args.sequences[blockIdx.y];
  const std::int64_t index = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpLanes;
  const std::int64_t nth = index / args.n_heads;
  if (nth >= sequence.n_rows) return;
  const int row = sequence.begin + static_cast<int>(nth);
  const int head_dim = 2 * args.half;
  const std::int64_t at = (index - nth * args.n_heads) * HeadBytes(Element::kInt8, head_dim);
  const unsigned char* from =
      sequence.from.base + RowOffset(sequence.from, sequence.pages, args.layer, row) + at;
  unsigned char* to = sequence.to.base + RowOffset(sequence.to, nullptr, args.layer, row) + at;
  const float scale = Int8Scale(from, head_dim);
  const float* cos = args.cos + std::int64_t{row} * args.half;
  const float* sin = args.sin + std::int64_t{row} * args.half;
  StoreInt8(to, head_dim, [&](int i) {
    const int pair = i < args.half ? i : i - args.half;
    const float first = LoadInt8(from, pair, scale);
    const float second = LoadInt8(from, pair + args.half, scale);
    return i < args.half ? __fsub_rn(__fmul_rn(first, cos[pair]), __fmul_rn(second, sin[pair]))
                         : __fadd_rn(__fmul_rn(second, cos[pair]), __fmul_rn(first, sin[pair]));
  });
}

}  // namespace

cudaError_t LaunchRotateKeys(const RotateKeysArgs& args, cudaStream_t stream) {
  const std::int64_t pairs = std::int64_t{args.max_rows} * args.n_heads * args.half;
  if (pairs == 0 || args.n_sequences == 0) return cudaSuccess;
  if (args.type == Element::kInt8) {
    const std::int64_t heads = std::int64_t{args.max_rows} * args.n_heads;
    const auto blocks = static_cast<unsigned>(CeilDiv<std::int64_t>(heads, kWarps));
    return Launch(RotateInt8Kernel, dim3(blocks, args.n_sequences), kThreads, stream, args);
  }
  const dim3 grid(static_cast<unsigned>(CeilDiv<std::int64_t>(pairs, kThreads)), args.n_sequences);
  return Launch(RotateKeysKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
