#include "engine/ops/append_kv.h"

#include <algorithm>

#include "engine/ops/op_check.h"
#include "engine/ops/store_row.h"

namespace keyhole {
namespace {

constexpr std::int32_t kRowsPerTask = 32;

std::int32_t TasksOf(const AppendKvParams& params) {
  return (params.n_tokens + kRowsPerTask - 1) / kRowsPerTask;
}

void Check(const AppendKvParams& params) {
  CheckOp(params.store != nullptr, "AppendKv", "null store");
  const std::int64_t room =
      static_cast<std::int64_t>(params.pages.size()) * params.store->layout().page_size;
  CheckOp(params.first >= 0 && params.first + std::int64_t{params.n_tokens} <= room,
          "AppendKv",
          "rows leave the page table");
}

void AppendRows(const AppendKvParams& params, std::int32_t begin, std::int32_t end) {
  const KvLayout& layout = params.store->layout();
  const std::size_t n = layout.kv_size();
  for (std::int32_t i = begin; i < end; ++i) {
    const std::int32_t row = params.first + i;
    const std::int32_t slot = row % layout.page_size;
    std::byte* at = params.store->LayerRows(params.pages[row / layout.page_size], params.layer) +
                    static_cast<std::size_t>(slot) * layout.row_bytes();
    StoreHeads(layout, params.keys + i * n, at);
    StoreHeads(layout, params.values + i * n, at + layout.key_bytes());
  }
}

}  // namespace

void AppendKv(Device& device, std::span<const AppendKvParams> sequences) {
  std::int64_t n_tasks = 0;
  for (const AppendKvParams& params : sequences) {
    Check(params);
    n_tasks += TasksOf(params);
  }
  // A step of decode alone writes a few kilobytes: not worth waking the pool.
  if (n_tasks == static_cast<std::int64_t>(sequences.size())) {
    for (const AppendKvParams& params : sequences) AppendRows(params, 0, params.n_tokens);
    return;
  }
  device.pool().ParallelFor(n_tasks, [&](std::int64_t task) {
    std::size_t s = 0;
    while (task >= TasksOf(sequences[s])) task -= TasksOf(sequences[s++]);
    const auto begin = static_cast<std::int32_t>(task * kRowsPerTask);
    AppendRows(sequences[s], begin, std::min(begin + kRowsPerTask, sequences[s].n_tokens));
  });
}

}  // namespace keyhole
