#include "engine/ops/cuda/append_digests.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cuda/kernels/append_digests.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda AppendDigests";

void Check(const DigestMap& map, const AppendDigestsParams& params, const DigestLayout& layout) {
  CheckOp(params.store.base != nullptr, kOp, "null store");
  const DigestLayout& own = params.store.layout;
  CheckOp(own.n_groups == layout.n_groups && own.rank == layout.rank, kOp, "layouts differ");
  CheckOp(own.rank % 4 == 0 && own.page_size % kDigestBlockTokens == 0, kOp, "odd layout");
  CheckOp(map.slot >= 0 && map.slot < own.n_slots, kOp, "no such slot");
  CheckOp(params.first >= 0 && params.n_tokens >= 0 &&
              std::int64_t{params.first} + params.n_tokens <=
                  std::int64_t{params.pages.n} * own.page_size,
          kOp,
          "rows leave the page table");
}

}  // namespace

void AppendDigests(const DigestMap& map,
                   std::span<const AppendDigestsParams> sequences,
                   Workspace& workspace) {
  if (sequences.empty()) return;
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
  CheckLaunch(LaunchAppendDigests(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
