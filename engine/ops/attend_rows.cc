#include "engine/ops/attend_rows.h"

#include <algorithm>
#include <vector>

#include "engine/ops/attend_plan.h"
#include "engine/ops/cpu/attend_item.h"
#include "engine/ops/op_check.h"

namespace keyhole {

struct AttendWorkspace::State {
  AttendPlan plan;
  std::vector<float> partials;
  std::vector<AttendScratch> scratch;  // one per thread
};

AttendWorkspace::AttendWorkspace() : state_(std::make_unique<State>()) {}
AttendWorkspace::~AttendWorkspace() = default;

namespace {

void CheckPart(const AttendParams& params, const AttendPart& part) {
  const std::int64_t n_rows =
      static_cast<std::int64_t>(params.pages.size()) * params.store->layout().page_size;
  const auto inside = [n_rows](std::int32_t row) { return row >= 0 && row < n_rows; };
  CheckOp(part.queries != nullptr, "AttendRows", "a part has no queries");
  if (part.rows.empty()) {
    CheckOp(part.range.empty() || (inside(part.range.begin) && inside(part.range.end - 1)),
            "AttendRows",
            "a range leaves the page table");
  } else {
    CheckOp(inside(part.rows.front()) && inside(part.rows.back()),
            "AttendRows",
            "selected rows leave the page table");
    CheckOp(part.causal_from < 0, "AttendRows", "selected rows have no causal limit");
  }
}

void Check(const AttendParams& params) {
  CheckOp(params.store != nullptr && params.out != nullptr, "AttendRows", "null argument");
  const KvLayout& layout = params.store->layout();
  CheckOp(layout.head_dim % 8 == 0, "AttendRows", "head_dim is not a multiple of 8");
  CheckOp(params.n_heads > 0 && params.n_heads % layout.n_kv_heads == 0,
          "AttendRows",
          "n_heads is not a multiple of n_kv_heads");
  for (const AttendPart& part : params.parts) CheckPart(params, part);
}

// One task per merge and KV head of it.
void Merge(Device& device, std::span<const AttendParams> sequences, AttendWorkspace::State& state) {
  const AttendPlan& plan = state.plan;
  const auto heads_of = [&](const AttendMerge& merge) {
    return plan.items[merge.item_begin].kv_end - plan.items[merge.item_begin].kv_begin;
  };
  std::int32_t most_heads = 0;
  for (const AttendMerge& merge : plan.merges) most_heads = std::max(most_heads, heads_of(merge));
  const auto n_tasks = static_cast<std::int64_t>(plan.merges.size()) * most_heads;
  if (n_tasks == 0) return;
  device.pool().ParallelFor(n_tasks, [&](std::int64_t task) {
    const AttendMerge& merge = plan.merges[task / most_heads];
    const auto head = static_cast<std::int32_t>(task % most_heads);
    if (head >= heads_of(merge)) return;
    const std::span<const AttendItem> items(plan.items.data() + merge.item_begin,
                                            merge.item_end - merge.item_begin);
    MergeAttendItems(sequences[items.front().sequence], items, head, state.partials.data());
  });
}

}  // namespace

void AttendRows(Device& device,
                std::span<const AttendParams> sequences,
                AttendWorkspace& workspace) {
  for (const AttendParams& params : sequences) Check(params);
  AttendWorkspace::State& state = workspace.state();
  const AttendKernelSet kernels = AttendKernelsFor(device.cpu_level());
  PlanAttend(sequences, {kernels.tile_lanes, kernels.deep_tile_lanes}, state.plan);
  const AttendPlan& plan = state.plan;
  if (plan.items.empty()) return;
  if (state.partials.size() < static_cast<std::size_t>(plan.partial_floats)) {
    state.partials.resize(plan.partial_floats);
  }
  state.scratch.resize(std::max<std::size_t>(state.scratch.size(), device.pool().n_threads()));
  for (AttendScratch& scratch : state.scratch) scratch.Reserve(plan);
  const auto n_items = static_cast<std::int64_t>(plan.items.size());
  device.pool().ParallelFor(n_items, [&](std::int64_t i, int thread) {
    const AttendItem* next = i + 1 < n_items ? &plan.items[i + 1] : nullptr;
    RunAttendItem({kernels, sequences, plan, state.partials.data()},
                  plan.items[i],
                  next,
                  state.scratch[thread]);
  });
  Merge(device, sequences, state);
}

}  // namespace keyhole
