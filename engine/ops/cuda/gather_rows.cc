#include "engine/ops/cuda/gather_rows.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cuda/check_rows.h"
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
  CheckOp(
      args.row_bytes > 0 && args.row_bytes % kGatherPiece == 0, kOp, "rows are not whole pieces");
  std::vector<GatherSequence> table;
  for (const GatherRowsParams& params : sequences) {
    CheckStore(kOp, params.store, layout, layer);
    CheckOp(params.n >= 0, kOp, "a negative number of rows");
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

void GatherNumberedRows(const NumberedRowsParams& params, Workspace& workspace) {
  if (params.n == 0) return;
  CheckOp(params.row_bytes > 0 && params.row_bytes % kGatherPiece == 0,
          kOp,
          "rows are not whole pieces");
  CheckOp(params.from != nullptr && params.to != nullptr && params.rows != nullptr &&
              params.targets != nullptr && params.n > 0,
          kOp,
          "null argument");
  const GatherSequence sequence = {
      .from = RowsIn({const_cast<std::byte*>(params.from), kAnyRow, params.row_bytes}),
      .rows = params.rows,
      .slots = params.targets,
      .n = params.n,
      .to = reinterpret_cast<unsigned char*>(params.to)};
  const GatherRowsArgs args = {.sequences = workspace.Upload<GatherSequence>({&sequence, 1}),
                               .n_sequences = 1,
                               .max_rows = params.n,
                               .row_bytes = static_cast<std::int32_t>(params.row_bytes),
                               .max_blocks = kBlocks};
  CheckLaunch(LaunchGatherRows(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
