#include "engine/ops/cuda/append_kv.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cuda/check_rows.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda AppendKv";

void Check(const AppendKvParams& params, const KvLayout& layout) {
  CheckStore(kOp, params.store, layout, 0);
  CheckOp(layout.type != KvType::kInt8 || layout.head_dim % 4 == 0, kOp, "scales are not aligned");
  CheckOp(layout.kv_size() % 8 == 0, kOp, "kv_size is not a multiple of 8");
  CheckRows(kOp, params.first, params.n_tokens, params.pages.n_rows(params.store.layout.page_size));
}

}  // namespace

AppendKvArgs PlanAppendKv(std::span<const AppendKvParams> sequences, Workspace& workspace) {
  if (sequences.empty()) return {};
  const KvLayout& layout = sequences.front().store.layout;
  std::vector<AppendKvSequence> table;
  AppendKvArgs args = {.n_sequences = static_cast<std::int32_t>(sequences.size()),
                       .kv_size = static_cast<std::int32_t>(layout.kv_size()),
                       .head_dim = layout.head_dim,
                       .type = ElementOf(layout.type)};
  for (const AppendKvParams& params : sequences) {
    Check(params, layout);
    args.max_tokens = std::max(args.max_tokens, params.n_tokens);
    table.push_back({.rows = KeysIn(params.store),
                     .pages = params.pages.ids,
                     .first = params.first,
                     .n_tokens = params.n_tokens,
                     .keys = params.keys,
                     .values = params.values});
  }
  args.sequences = workspace.Upload<AppendKvSequence>(table);
  return args;
}

void AppendKv(std::int32_t layer, std::span<const AppendKvParams> sequences, Workspace& workspace) {
  if (sequences.empty()) return;
  CheckStore(kOp, sequences.front().store, sequences.front().store.layout, layer);
  AppendKvArgs args = PlanAppendKv(sequences, workspace);
  args.layer = layer;
  CheckLaunch(LaunchAppendKv(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
