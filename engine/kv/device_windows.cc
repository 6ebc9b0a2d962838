#include "engine/kv/device_windows.h"

#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<DeviceWindows> DeviceWindows::Create(const Stream& stream,
                                                    const KvLayout& layout,
                                                    const DeviceWindowSizes& sizes) {
  const std::size_t bytes = WindowBytes(layout, sizes.capacity) * sizes.n_sequences;
  if (sizes.capacity <= 0 || sizes.n_sequences <= 0 || bytes == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "windows of ", sizes.capacity, " tokens for ", sizes.n_sequences, " sequences"));
  }
  KEYHOLE_ASSIGN_OR_RETURN(DeviceBuffer memory, DeviceBuffer::Allocate(stream, bytes));
  return DeviceWindows(layout, sizes, std::move(memory));
}

DeviceWindows::DeviceWindows(const KvLayout& layout,
                             const DeviceWindowSizes& sizes,
                             DeviceBuffer memory)
    : layout_(layout), sizes_(sizes), memory_(std::move(memory)), free_(sizes.n_sequences) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

absl::StatusOr<KeyWindow*> DeviceWindows::Open(RequestId id) {
  if (const auto found = windows_.find(id); found != windows_.end()) {
    return found->second.keys.get();
  }
  if (free_.empty()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", sizes_.n_sequences, " windows of the device are open"));
  }
  const std::int32_t slot = free_.back();
  free_.pop_back();
  std::byte* memory = memory_.data() + slot * WindowBytes(layout_, sizes_.capacity);
  Window window = {slot, std::make_unique<KeyWindow>(layout_, sizes_.capacity, memory)};
  return windows_.emplace(id, std::move(window)).first->second.keys.get();
}

void DeviceWindows::Close(RequestId id) {
  const auto found = windows_.find(id);
  if (found == windows_.end()) return;
  free_.push_back(found->second.slot);
  windows_.erase(found);
}

}  // namespace keyhole
