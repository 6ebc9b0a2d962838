#include "engine/ops/cuda/top_k.h"

#include <vector>

#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda TopK";

std::size_t SegmentsOf(std::int32_t n) { return (n + kTopKSegment - 1) / kTopKSegment; }

}  // namespace

TopKArgs PlanTopK(std::span<const TopKParams> sequences, Workspace& workspace) {
  using Block = Workspace::Block;
  const std::size_t n = sequences.size();
  const std::size_t count_bytes = Block::Bytes(n * kTopKCounts, sizeof(std::uint32_t));
  std::size_t bytes = count_bytes + Block::Bytes(n, sizeof(TopKRest));
  TopKArgs args = {.n_sequences = static_cast<std::int32_t>(n)};
  for (const TopKParams& params : sequences) {
    CheckOp(params.k >= 0 && params.n >= 0, kOp, "k or n is negative");
    CheckOp(
        reinterpret_cast<std::uintptr_t>(params.scores) % 16 == 0, kOp, "scores are not aligned");
    args.max_n = std::max(args.max_n, params.n);
    bytes += Block::Bytes(params.n, sizeof(TopKSurvivor)) +
             Block::Bytes(SegmentsOf(params.n), sizeof(std::int32_t));
  }
  if (args.max_n == 0) return {};
  Block block = workspace.Reserve(bytes);
  args.counts = block.Cut<std::uint32_t>(n * kTopKCounts);
  args.rests = block.Cut<TopKRest>(n);
  ThrowIfFailed(FillAsync(workspace.stream(), args.counts, 0, count_bytes));
  std::vector<TopKSequence> table;
  for (const TopKParams& params : sequences) {
    table.push_back({.scores = params.scores,
                     .n = params.n,
                     .k = TopKCountOf(params.n, params.k),
                     .first = params.first,
                     .rows = params.rows,
                     .survivors = block.Cut<TopKSurvivor>(params.n),
                     .n_survivors = block.Cut<std::int32_t>(SegmentsOf(params.n))});
  }
  args.sequences = workspace.Upload<TopKSequence>(table);
  return args;
}

void TopK(std::span<const TopKParams> sequences, Workspace& workspace) {
  const TopKArgs args = PlanTopK(sequences, workspace);
  CheckLaunch(LaunchTopK(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
