#include "engine/ops/cuda/kernels/append_digests.h"

#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpLanes;

__device__ std::uint32_t CodeOf(float x) {
  return static_cast<std::uint32_t>(__float2int_rn(fminf(fmaxf(x, -127.0F), 127.0F)) + kCodeBias);
}

// A warp makes one quad of one token's digest. grid: quads of a sequence's tokens; sequences.
__global__ void __launch_bounds__(kThreads) AppendDigestsKernel(AppendDigestsArgs args) {
  const AppendDigestsSequence& sequence = args.sequences[blockIdx.y];
  const int quads = args.rank / 4;
  const std::int64_t index = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpLanes;
  const std::int64_t vector = index / quads;  // token and group
  const std::int64_t token = vector / args.n_groups;
  if (token >= sequence.n_tokens) return;
  const int quad = static_cast<int>(index - vector * quads);
  const int group = static_cast<int>(vector - token * args.n_groups);
  const int lane = threadIdx.x % kWarpLanes;
  const float* key = sequence.keys + vector * args.in_dim;
  const float* map = args.map + (std::int64_t{group} * args.rank + quad * 4) * args.in_dim;
  float sums[4] = {};
  for (int c = lane; c < args.in_dim; c += kWarpLanes) {
    const float x = key[c];
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] += map[std::int64_t{i} * args.in_dim + c] * x;
  }
  std::uint32_t codes = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) codes |= CodeOf(WarpReduce(sums[i], Sum{})) << (8 * i);
  if (lane != 0) return;
  unsigned char* to = sequence.digests.base + DigestOffset(sequence.digests,
                                                           sequence.pages,
                                                           args.slot,
                                                           sequence.first + static_cast<int>(token),
                                                           group);
  *reinterpret_cast<std::uint32_t*>(to + quad * kQuadBytes) = codes;
}

}  // namespace

cudaError_t LaunchAppendDigests(const AppendDigestsArgs& args, cudaStream_t stream) {
  const std::int64_t quads = std::int64_t{args.max_tokens} * args.n_groups * (args.rank / 4);
  if (quads == 0 || args.n_sequences == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(CeilDiv<std::int64_t>(quads, kWarps)), args.n_sequences);
  return Launch(AppendDigestsKernel, grid, kThreads, stream, args);
}

}  // namespace keyhole::cuda
