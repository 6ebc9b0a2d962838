#include "engine/ops/cuda/top_k.h"

#include <vector>

#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda TopK";
constexpr std::size_t kCounts = std::size_t{kRadixPasses} * kRadixBins;  // of a sequence

std::size_t SegmentsOf(std::int32_t n) { return (n + kTopKSegment - 1) / kTopKSegment; }

}  // namespace

TopKArgs PlanTopK(std::span<const TopKParams> sequences, Workspace& workspace) {
  using Block = Workspace::Block;
  const std::size_t n = sequences.size();
  std::size_t bytes = Block::Bytes(n * kCounts, sizeof(std::uint32_t));
  TopKArgs args = {.n_sequences = static_cast<std::int32_t>(n)};
  for (const TopKParams& params : sequences) {
    CheckOp(params.k >= 0 && params.n >= 0, kOp, "k or n is negative");
    args.max_n = std::max(args.max_n, params.n);
    bytes += Block::Bytes(kRadixPasses, sizeof(RadixState)) +
             Block::Bytes(params.n, sizeof(TopKSurvivor)) +
             Block::Bytes(SegmentsOf(params.n), sizeof(std::int32_t)) +
             Block::Bytes(SegmentsOf(params.n), sizeof(TopKCount));
  }
  if (args.max_n == 0) return {};
  Block block = workspace.Reserve(bytes);
  args.counts = block.Cut<std::uint32_t>(n * kCounts);
  std::vector<TopKSequence> table;
  for (const TopKParams& params : sequences) {
    table.push_back({.scores = params.scores,
                     .n = params.n,
                     .k = TopKCountOf(params.n, params.k),
                     .first = params.first,
                     .rows = params.rows,
                     .counts = args.counts + table.size() * kCounts,
                     .states = block.Cut<RadixState>(kRadixPasses),
                     .survivors = block.Cut<TopKSurvivor>(params.n),
                     .n_survivors = block.Cut<std::int32_t>(SegmentsOf(params.n)),
                     .segments = block.Cut<TopKCount>(SegmentsOf(params.n))});
  }
  args.sequences = workspace.Upload<TopKSequence>(table);
  return args;
}

void TopK(std::span<const TopKParams> sequences, Workspace& workspace) {
  const TopKArgs args = PlanTopK(sequences, workspace);
  CheckLaunch(LaunchTopK(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
