#include "engine/ops/cuda/append_kv.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cuda/kernels/append_kv.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda AppendKv";

void Check(std::int32_t layer, const AppendKvParams& params, const KvLayout& layout) {
  CheckOp(params.store.base != nullptr, kOp, "null store");
  const KvLayout& own = params.store.layout;
  CheckOp(own.kv_size() == layout.kv_size() && own.type == layout.type, kOp, "layouts differ");
  CheckOp(layout.kv_size() % 8 == 0, kOp, "kv_size is not a multiple of 8");
  CheckOp(layer >= 0 && layer < own.n_layers, kOp, "no such layer");
  CheckOp(params.first >= 0 && params.n_tokens >= 0 &&
              std::int64_t{params.first} + params.n_tokens <=
                  std::int64_t{params.pages.n} * own.page_size,
          kOp,
          "rows leave the page table");
}

}  // namespace

void AppendKv(std::int32_t layer, std::span<const AppendKvParams> sequences, Workspace& workspace) {
  if (sequences.empty()) return;
  const KvLayout& layout = sequences.front().store.layout;
  std::vector<AppendKvSequence> table;
  AppendKvArgs args = {.n_sequences = static_cast<std::int32_t>(sequences.size()),
                       .layer = layer,
                       .kv_size = static_cast<std::int32_t>(layout.kv_size()),
                       .type = ElementOf(layout.type)};
  for (const AppendKvParams& params : sequences) {
    Check(layer, params, layout);
    args.max_tokens = std::max(args.max_tokens, params.n_tokens);
    table.push_back({.rows = KeysIn(params.store),
                     .pages = params.pages.ids,
                     .first = params.first,
                     .n_tokens = params.n_tokens,
                     .keys = params.keys,
                     .values = params.values});
  }
  args.sequences = workspace.Upload<AppendKvSequence>(table);
  CheckLaunch(LaunchAppendKv(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
