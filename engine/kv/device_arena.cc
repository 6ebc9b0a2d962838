#include "engine/kv/device_arena.h"

#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<DeviceArena> DeviceArena::Allocate(const Stream& stream,
                                                  const KvLayout& layout,
                                                  const ResidencyPlan& plan) {
  const std::size_t hot_rows = static_cast<std::size_t>(plan.n_hot_rows) * layout.n_layers;
  const std::size_t bytes = plan.n_page_slots * layout.page_bytes() + hot_rows * layout.row_bytes();
  KEYHOLE_ASSIGN_OR_RETURN(DeviceBuffer memory, DeviceBuffer::Allocate(stream, bytes));
  return DeviceArena(layout, plan, std::move(memory));
}

}  // namespace keyhole
