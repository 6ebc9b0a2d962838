// Windows of rotated keys in device memory, for as many sequences as may run.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/device/device_buffer.h"
#include "engine/device/stream.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/window_cache.h"
#include "engine/types.h"

namespace keyhole {

struct DeviceWindowSizes {
  std::int32_t capacity = 0;  // tokens of the window and of the largest chunk
  std::int32_t n_sequences = 0;
};

// All memory is taken at once, so that no window fails for want of it while sequences run.
// Owner: attention. Thread: executor only. REQUIRES: the stream outlives it.
class DeviceWindows {
 public:
  // Errors: INVALID_ARGUMENT for sizes that are not positive; RESOURCE_EXHAUSTED where the device
  // is short of memory; FAILED_PRECONDITION without CUDA.
  static absl::StatusOr<DeviceWindows> Create(const Stream& stream,
                                              const KvLayout& layout,
                                              const DeviceWindowSizes& sizes);

  // The sequence's window, a new one where there is none. Valid until Close.
  // Errors: RESOURCE_EXHAUSTED where n_sequences others are open.
  absl::StatusOr<KeyWindow*> Open(RequestId id);
  void Close(RequestId id);

  std::size_t n_open() const { return windows_.size(); }

 private:
  struct Window {
    std::int32_t slot = 0;
    std::unique_ptr<KeyWindow> keys;
  };

  DeviceWindows(const KvLayout& layout, const DeviceWindowSizes& sizes, DeviceBuffer memory);

  KvLayout layout_;
  DeviceWindowSizes sizes_;
  DeviceBuffer memory_;
  std::vector<std::int32_t> free_;
  absl::flat_hash_map<RequestId, Window> windows_;
};

}  // namespace keyhole
