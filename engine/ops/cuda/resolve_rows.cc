#include "engine/ops/cuda/resolve_rows.h"

#include <vector>

#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda FetchRows";
constexpr std::int32_t kGatherBlocks = 64;  // see gather_rows.cc

using Block = Workspace::Block;

std::size_t BlocksOf(std::int32_t n) {
  return (static_cast<std::size_t>(n) + kResolveRows - 1) / kResolveRows;
}

// How missing rows are found and copied.
void PlanMoves(const FetchPath& path,
               std::int32_t n_at_once,
               Workspace& workspace,
               FetchRowsArgs& args) {
  CheckOp(
      path.from != nullptr && path.to != nullptr && path.scratch != nullptr, kOp, "null argument");
  CheckOp(path.row_bytes % kGatherPiece == 0, kOp, "rows are not whole pieces");
  Block scratch(path.scratch);
  ResolveRowsArgs& resolve = args.resolve;
  resolve.missing = scratch.Cut<MissingRow>(n_at_once);
  resolve.n_missing = scratch.Cut<std::int32_t>(BlocksOf(n_at_once));
  resolve.from = scratch.Cut<std::int32_t>(n_at_once);
  resolve.to = scratch.Cut<std::int32_t>(n_at_once);
  const GatherSequence moves = {
      .from = RowsIn({const_cast<std::byte*>(path.from), kAnyRow, path.row_bytes}),
      .rows = resolve.from,
      .slots = resolve.to,
      .n = 0,
      .to = reinterpret_cast<unsigned char*>(path.to)};
  // The device writes how many there are.
  auto* gather = const_cast<GatherSequence*>(workspace.Upload<GatherSequence>({&moves, 1}));
  resolve.n_moves = &gather->n;
  args.gather = {.sequences = gather,
                 .n_sequences = 1,
                 .max_rows = n_at_once,
                 .row_bytes = static_cast<std::int32_t>(path.row_bytes),
                 .max_blocks = kGatherBlocks};
}

}  // namespace

std::size_t FetchScratchBytes(std::int32_t n) {
  return Block::Bytes(n, sizeof(MissingRow)) + Block::Bytes(BlocksOf(n), sizeof(std::int32_t)) +
         2 * Block::Bytes(n, sizeof(std::int32_t));
}

FetchRowsArgs PlanFetchRows(const HotRowTables& tables,
                            const FetchPath& path,
                            std::span<const ResolveRowsParams> sequences,
                            std::int32_t n_at_once,
                            Workspace& sequences_workspace,
                            Workspace& gather_workspace) {
  FetchRowsArgs args;
  std::vector<ResolveSequence> table;
  std::int32_t n = 0;
  for (const ResolveRowsParams& params : sequences) {
    CheckOp(params.n >= 0, kOp, "a negative number of rows");
    CheckOp(
        params.n == 0 || (params.rows && params.places && params.pages.ids), kOp, "null argument");
    table.push_back({.pages = params.pages.ids,
                     .rows = params.rows,
                     .places = params.places,
                     .n = params.n,
                     .first = n});
    n += params.n;
  }
  CheckOp(n <= n_at_once, kOp, "more rows than the launches are made for");
  if (n_at_once == 0 || table.empty()) return args;
  args.resolve = {.sequences = sequences_workspace.Upload<ResolveSequence>(table),
                  .n_sequences = static_cast<std::int32_t>(table.size()),
                  .max_rows = n_at_once,
                  .tables = tables};
  if (tables.n_hot_rows > 0) PlanMoves(path, n_at_once, gather_workspace, args);
  return args;
}

void FetchRows(std::int32_t layer, const FetchRowsArgs& args, const Stream& stream) {
  ResolveRowsArgs resolve = args.resolve;
  resolve.layer = layer;
  CheckLaunch(LaunchResolveRows(resolve, stream.handle()), kOp);
  CheckLaunch(LaunchGatherRows(args.gather, stream.handle()), kOp);
}

void ForgetPages(const HotRowTables& tables, std::span<const PageId> pages, Workspace& workspace) {
  if (pages.empty() || tables.n_hot_rows == 0) return;
  const ForgetPagesArgs args = {.tables = tables,
                                .pages = workspace.Upload<PageId>(pages),
                                .n_pages = static_cast<std::int32_t>(pages.size())};
  CheckLaunch(LaunchForgetPages(args, workspace.stream().handle()), "cuda ForgetPages");
}

}  // namespace keyhole::cuda
