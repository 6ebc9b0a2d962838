#include "engine/ops/rotate_keys.h"

#include <algorithm>
#include <array>

#include "engine/ops/op_check.h"
#include "engine/ops/rotate_head.h"
#include "engine/ops/store_row.h"

namespace keyhole {
namespace {

constexpr std::int32_t kRowsPerTask = 32;
constexpr std::int32_t kMaxHeadDim = 1024;

void Check(const RotateKeysParams& params) {
  constexpr std::string_view kOp = "RotateKeys";
  CheckOp(params.store != nullptr && params.ring.base != nullptr, kOp, "null argument");
  const KvLayout& layout = params.store->layout();
  const std::int64_t room = static_cast<std::int64_t>(params.pages.size()) * layout.page_size;
  CheckOp(params.rows.begin >= 0 && params.rows.end <= room, kOp, "rows leave the page table");
  CheckOp(params.rows.size() <= params.ring.capacity, kOp, "more rows than the window holds");
  CheckOp(layout.head_dim <= kMaxHeadDim, kOp, "head_dim is too large");
}

void RotateRow(const RotateKeysParams& params, std::int32_t row) {
  const KvLayout& layout = params.store->layout();
  const std::int32_t d = layout.head_dim;
  const std::size_t head_bytes = layout.head_bytes();
  const std::byte* from =
      params.store->LayerRows(params.pages[row / layout.page_size], params.layer) +
      static_cast<std::size_t>(row % layout.page_size) * layout.row_bytes();
  std::byte* to = params.ring.Row(row);
  const Rotation to_row = RotationTo(params.table, d, row);
  std::array<float, kMaxHeadDim> key;
  std::array<float, kMaxHeadDim> rotated;
  for (std::int32_t head = 0; head < layout.n_kv_heads; ++head) {
    LoadHead(layout.type, from + head * head_bytes, d, key.data());
    RotateHead(to_row, key.data(), rotated.data());
    StoreHead(layout.type, rotated.data(), d, to + head * head_bytes);
  }
}

}  // namespace

void RotateKeys(Device& device, const RotateKeysParams& params) {
  if (params.rows.empty()) return;
  Check(params);
  const std::int32_t n_tasks = (params.rows.size() + kRowsPerTask - 1) / kRowsPerTask;
  const auto task = [&](std::int64_t i) {
    const std::int32_t begin = params.rows.begin + static_cast<std::int32_t>(i) * kRowsPerTask;
    const std::int32_t end = std::min(begin + kRowsPerTask, params.rows.end);
    for (std::int32_t row = begin; row < end; ++row) RotateRow(params, row);
  };
  if (n_tasks == 1) return task(0);
  device.pool().ParallelFor(n_tasks, task);
}

}  // namespace keyhole
