#include "engine/ops/cuda/rotate_keys.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cuda/check_rows.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda RotateKeys";

void Check(const RotateKeysParams& params, const KvLayout& layout) {
  CheckStore(kOp, params.store, layout, 0);
  CheckOp(layout.type != KvType::kInt8 || layout.head_dim % 4 == 0, kOp, "scales are not aligned");
  CheckOp(params.ring.base != nullptr, kOp, "null ring");
  CheckOp(params.rows.size() <= params.ring.capacity, kOp, "more rows than the window holds");
  CheckRows(kOp,
            params.rows.begin,
            params.rows.size(),
            params.pages.n_rows(params.store.layout.page_size));
}

}  // namespace

RotateKeysArgs PlanRotateKeys(RopeRows rope,
                              std::span<const RotateKeysParams> sequences,
                              Workspace& workspace) {
  if (sequences.empty()) return {};
  const KvLayout& layout = sequences.front().store.layout;
  CheckOp(rope.cos != nullptr && rope.sin != nullptr, kOp, "no table");
  CheckOp(layout.head_dim % 2 == 0, kOp, "head_dim is odd");
  RotateKeysArgs args = {.n_heads = layout.n_kv_heads,
                         .half = layout.head_dim / 2,
                         .cos = rope.cos,
                         .sin = rope.sin,
                         .type = ElementOf(layout.type)};
  std::vector<RotateKeysSequence> table;
  for (const RotateKeysParams& params : sequences) {
    if (params.rows.empty()) continue;
    Check(params, layout);
    args.max_rows = std::max(args.max_rows, params.rows.size());
    table.push_back({.from = KeysIn(params.store),
                     .pages = params.pages.ids,
                     .to = RowsIn(params.ring),
                     .begin = params.rows.begin,
                     .n_rows = params.rows.size()});
  }
  if (table.empty()) return {};
  args.n_sequences = static_cast<std::int32_t>(table.size());
  args.sequences = workspace.Upload<RotateKeysSequence>(table);
  return args;
}

void RotateKeys(const RotateSettings& settings,
                std::span<const RotateKeysParams> sequences,
                Workspace& workspace) {
  if (sequences.empty()) return;
  CheckStore(kOp, sequences.front().store, sequences.front().store.layout, settings.layer);
  RotateKeysArgs args = PlanRotateKeys(settings.table, sequences, workspace);
  args.layer = settings.layer;
  CheckLaunch(LaunchRotateKeys(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
