// How scattered rows come from host pages into device memory.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "engine/device/stream.h"
#include "engine/kv/hot_rows.h"

namespace keyhole {

struct RowCopies {
  const std::byte* from = nullptr;  // row 0 of the host's pages
  std::byte* to = nullptr;          // place 0 on the device
  std::size_t row_bytes = 0;
  std::span<const RowMove> moves = {};
};

// Thread: executor only.
class RowCopier {
 public:
  virtual ~RowCopier() = default;

  // Queues the copies in `stream`; `moves` may go when it returns. Errors: of the device, and then
  // some of the copies may run all the same.
  virtual absl::Status Copy(const Stream& stream, const RowCopies& copies) = 0;
};

// A copy of its own for each run of rows that are neighbours on both sides. Slow for scattered
// rows, but host memory need not be pinned.
class RowByRowCopier final : public RowCopier {
 public:
  absl::Status Copy(const Stream& stream, const RowCopies& copies) override;
};

}  // namespace keyhole
