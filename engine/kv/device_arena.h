// Device memory for rows: slots of a page each, then slots of a row each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/device/device_buffer.h"
#include "engine/device/stream.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/residency.h"

namespace keyhole {

// Every row has a number, its place: it lies at base() + place * row_bytes, wherever it came from,
// so that attention reads rows of pages and fetched ones by one table.
// Owner: ResidentKv. Thread: executor only. REQUIRES: the stream outlives it.
class DeviceArena {
 public:
  // Errors: RESOURCE_EXHAUSTED where the device is short of memory; FAILED_PRECONDITION without
  // CUDA.
  static absl::StatusOr<DeviceArena> Allocate(const Stream& stream,
                                              const KvLayout& layout,
                                              const ResidencyPlan& plan);

  std::byte* base() const { return memory_.data(); }
  std::byte* Page(std::int32_t slot) const { return base() + slot * layout_.page_bytes(); }

  std::int32_t PlaceInPage(std::int32_t slot, std::int32_t layer, std::int32_t row) const {
    return layout_.row_number(slot, layer, row);
  }
  std::int32_t PlaceOfHotRow(std::int32_t layer, std::int32_t slot) const {
    return first_hot_row_ + layer * n_hot_rows_ + slot;
  }

  const KvLayout& layout() const { return layout_; }

 private:
  DeviceArena(const KvLayout& layout, const ResidencyPlan& plan, DeviceBuffer memory)
      : layout_(layout),
        n_hot_rows_(plan.n_hot_rows),
        first_hot_row_(layout.row_number(plan.n_page_slots, 0, 0)),
        memory_(std::move(memory)) {}

  KvLayout layout_;
  std::int32_t n_hot_rows_;  // of each layer
  std::int32_t first_hot_row_;
  DeviceBuffer memory_;
};

}  // namespace keyhole
