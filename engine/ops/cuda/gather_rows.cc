#include "engine/ops/cuda/gather_rows.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cuda/kernels/gather_rows.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda GatherRows";

// Of all sequences: each has 32 KB on their way, a bus of 55 GB/s and 2 us holds 110 KB. More would
// only take multiprocessors from other work.
constexpr std::int32_t kBlocks = 64;

}  // namespace

void GatherRows(std::int32_t layer,
                std::span<const GatherRowsParams> sequences,
                Workspace& workspace) {
  if (sequences.empty()) return;
  const KvLayout& layout = sequences.front().store.layout;
  const auto n = static_cast<std::int32_t>(sequences.size());
  GatherRowsArgs args = {.n_sequences = n,
                         .layer = layer,
                         .row_bytes = static_cast<std::int32_t>(layout.row_bytes()),
                         .max_blocks = std::max(1, kBlocks / n)};
  CheckOp(args.row_bytes > 0 && args.row_bytes % 16 == 0, kOp, "rows are not whole pieces");
  std::vector<GatherSequence> table;
  for (const GatherRowsParams& params : sequences) {
    const KvLayout& own = params.store.layout;
    CheckOp(params.store.base != nullptr && params.n >= 0, kOp, "null store");
    CheckOp(own.row_bytes() == layout.row_bytes(), kOp, "layouts differ");
    CheckOp(layer >= 0 && layer < own.n_layers, kOp, "no such layer");
    args.max_rows = std::max(args.max_rows, params.n);
    table.push_back({.from = KeysIn(params.store),
                     .pages = params.pages.ids,
                     .rows = params.rows,
                     .slots = params.slots,
                     .n = params.n,
                     .to = reinterpret_cast<unsigned char*>(params.to)});
  }
  args.sequences = workspace.Upload<GatherSequence>(table);
  CheckLaunch(LaunchGatherRows(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
