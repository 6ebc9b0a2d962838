#include "engine/ops/cuda/kernels/gather_rows.h"

#include "engine/ops/cuda/kernels/launch.h"
#include "engine/ops/cuda/kernels/ptx.h"

namespace keyhole::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kThreadBytes = 128;  // that a thread has on their way

__device__ void LoadOnce(const unsigned char* from, uint4& piece) { piece = LoadOnce16(from); }
__device__ void LoadOnce(const unsigned char* from, uint2& piece) { piece = LoadOnce8(from); }

// Pieces of all rows in one sequence of numbers; neighbours in a warp are neighbours in memory, so
// that the bus carries whole lines. grid: blocks that take turns; sequences.
template <typename Piece>
__global__ void __launch_bounds__(kThreads) GatherRowsKernel(GatherRowsArgs args) {
  constexpr int kPiece = sizeof(Piece);
  constexpr int kAtOnce = kThreadBytes / kPiece;
  const GatherSequence& sequence = args.sequences[blockIdx.y];
  const int pieces = args.row_bytes / kPiece;
  const std::int64_t total = std::int64_t{sequence.n} * pieces;
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; first < total;
       first += kAtOnce * stride) {
    Piece values[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::int64_t index = first + i * stride;
      if (index >= total) break;
      const auto row = static_cast<std::int32_t>(index / pieces);
      const unsigned char* from =
          sequence.from.base +
          RowOffset(sequence.from, sequence.pages, args.layer, sequence.rows[row]);
      LoadOnce(from + (index - std::int64_t{row} * pieces) * kPiece, values[i]);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::int64_t index = first + i * stride;
      if (index >= total) break;
      const auto row = static_cast<std::int32_t>(index / pieces);
      const std::int64_t slot = sequence.slots == nullptr ? row : sequence.slots[row];
      unsigned char* to = sequence.to + slot * args.row_bytes;
      *reinterpret_cast<Piece*>(to + (index - std::int64_t{row} * pieces) * kPiece) = values[i];
    }
  }
}

template <typename Piece>
cudaError_t LaunchForPiece(const GatherRowsArgs& args, cudaStream_t stream) {
  const std::int64_t pieces = std::int64_t{args.max_rows} * args.row_bytes / sizeof(Piece);
  if (args.n_sequences == 0 || pieces == 0) return cudaSuccess;
  const std::int64_t wanted = CeilDiv<std::int64_t>(pieces, kThreads);
  const dim3 grid(static_cast<unsigned>(wanted < args.max_blocks ? wanted : args.max_blocks),
                  args.n_sequences);
  return Launch(GatherRowsKernel<Piece>, grid, kThreads, stream, args);
}

}  // namespace

// Of an odd number of heads in int8, rows are aligned to 8 bytes only.
cudaError_t LaunchGatherRows(const GatherRowsArgs& args, cudaStream_t stream) {
  return args.row_bytes % sizeof(uint4) == 0 ? LaunchForPiece<uint4>(args, stream)
                                             : LaunchForPiece<uint2>(args, stream);
}

}  // namespace keyhole::cuda
