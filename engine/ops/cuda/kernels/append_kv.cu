#include "engine/ops/cuda/kernels/append_kv.h"

#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/cuda/kernels/int8_head.h"
#include "engine/ops/cuda/kernels/launch.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 8;  // values of a thread

// grid: pieces of a sequence's rows; sequences.
__global__ void __launch_bounds__(kThreads) AppendKvKernel(AppendKvArgs args) {
  const AppendKvSequence& sequence = args.sequences[blockIdx.y];
  const int pieces = 2 * args.kv_size / kPiece;
  const std::int64_t index = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t token = index / pieces;
  if (token >= sequence.n_tokens) return;
  const int at = static_cast<int>(index - token * pieces) * kPiece;  // in the row, K then V
  const float* from = at < args.kv_size ? sequence.keys + at : sequence.values + at - args.kv_size;
  from += token * args.kv_size;
  const auto* in = reinterpret_cast<const float4*>(from);
  const float4 a = in[0];
  const float4 b = in[1];
  unsigned char* to = sequence.rows.base + RowOffset(sequence.rows,
                                                     sequence.pages,
                                                     args.layer,
                                                     sequence.first + static_cast<int>(token));
  if (args.type == Element::kF32) {
    auto* out = reinterpret_cast<float4*>(to) + at / 4;
    out[0] = a;
    out[1] = b;
    return;
  }
  reinterpret_cast<uint4*>(to)[at / kPiece] =
      make_uint4(PackBf16(a.x, a.y), PackBf16(a.z, a.w), PackBf16(b.x, b.y), PackBf16(b.z, b.w));
}

constexpr int kWarps = kThreads / kWarpLanes;

// A warp writes one head. grid: heads of a sequence's rows; sequences.
__global__ void __launch_bounds__(kThreads) AppendInt8Kernel(AppendKvArgs args) {
  const AppendKvSequence& sequence = args.sequences[blockIdx.y];
  const int n_heads = args.kv_size / args.head_dim;
  const std::int64_t index = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpLanes;
  const std::int64_t token = index / (2 * n_heads);
  if (token >= sequence.n_tokens) return;
  const int head = static_cast<int>(index - token * 2 * n_heads);  // of the row, K then V
  const float* from = head < n_heads ? sequence.keys : sequence.values;
  from += token * args.kv_size + head % n_heads * args.head_dim;
  unsigned char* to = sequence.rows.base + RowOffset(sequence.rows,
                                                     sequence.pages,
                                                     args.layer,
                                                     sequence.first + static_cast<int>(token));
  StoreInt8(to + std::int64_t{head} * HeadBytes(Element::kInt8, args.head_dim),
            args.head_dim,
            [from](int i) { return from[i]; });
}

}  // namespace

cudaError_t LaunchAppendKv(const AppendKvArgs& args, cudaStream_t stream) {
  const std::int64_t pieces = std::int64_t{args.max_tokens} * 2 * args.kv_size / kPiece;
  if (pieces == 0 || args.n_sequences == 0) return cudaSuccess;
  if (args.type == Element::kInt8) {
    const std::int64_t heads = std::int64_t{args.max_tokens} * 2 * (args.kv_size / args.head_dim);
    const auto blocks = static_cast<unsigned>(CeilDiv<std::int64_t>(heads, kWarps));
    return Launch(AppendInt8Kernel, dim3(blocks, args.n_sequences), kThreads, stream, args);
  }
  const dim3 grid(static_cast<unsigned>(CeilDiv<std::int64_t>(pieces, kThreads)), args.n_sequences);
  return Launch(AppendKvKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
