#include "engine/ops/cuda/append_digests.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cuda/check_rows.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda AppendDigests";

void Check(const DigestMap& map, const AppendDigestsParams& params, const DigestLayout& layout) {
  CheckStore(kOp, params.store, layout, map.slot);
  CheckRows(kOp, params.first, params.n_tokens, params.pages.n_rows(params.store.layout.page_size));
}

}  // namespace

AppendDigestsArgs PlanAppendDigests(const DigestMap& map,
                                    std::span<const AppendDigestsParams> sequences,
                                    Workspace& workspace) {
  if (sequences.empty()) return {};
  CheckOp(map.map != nullptr && map.in_dim > 0, kOp, "no map");
  const DigestLayout& layout = sequences.front().store.layout;
  std::vector<AppendDigestsSequence> table;
  AppendDigestsArgs args = {.n_sequences = static_cast<std::int32_t>(sequences.size()),
                            .slot = map.slot,
                            .n_groups = layout.n_groups,
                            .rank = layout.rank,
                            .in_dim = map.in_dim,
                            .map = map.map};
  for (const AppendDigestsParams& params : sequences) {
    Check(map, params, layout);
    args.max_tokens = std::max(args.max_tokens, params.n_tokens);
    table.push_back({.digests = DigestsIn(params.store),
                     .pages = params.pages.ids,
                     .first = params.first,
                     .n_tokens = params.n_tokens,
                     .keys = params.keys});
  }
  args.sequences = workspace.Upload<AppendDigestsSequence>(table);
  return args;
}

void AppendDigests(const DigestMap& map,
                   std::span<const AppendDigestsParams> sequences,
                   Workspace& workspace) {
  if (sequences.empty()) return;
  const AppendDigestsArgs args = PlanAppendDigests(map, sequences, workspace);
  CheckLaunch(LaunchAppendDigests(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
