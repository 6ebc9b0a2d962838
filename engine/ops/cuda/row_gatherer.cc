#include "engine/ops/cuda/row_gatherer.h"

#include "engine/device/device_error.h"
#include "engine/ops/cuda/gather_rows.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {

absl::Status RowGatherer::Copy(const Stream& stream, const RowCopies& copies) {
  if (copies.moves.empty()) return absl::OkStatus();
  CheckOp(stream.handle() == numbers_.stream().handle(), "RowGatherer", "another stream");
  const std::size_t n = copies.moves.size();
  table_.resize(2 * n);
  for (std::size_t i = 0; i < n; ++i) {
    table_[i] = copies.moves[i].from;
    table_[n + i] = copies.moves[i].to;
  }
  try {
    const std::int32_t* numbers = numbers_.Upload<std::int32_t>(table_);
    GatherNumberedRows({.from = copies.from,
                        .to = copies.to,
                        .row_bytes = copies.row_bytes,
                        .rows = numbers,
                        .targets = numbers + n,
                        .n = static_cast<std::int32_t>(n)},
                       arguments_);
  } catch (const DeviceError& error) {
    return error.status();
  }
  return absl::OkStatus();
}

}  // namespace keyhole::cuda
