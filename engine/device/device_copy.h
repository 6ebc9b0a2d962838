// Copies between host and accelerator, queued in a stream.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "engine/device/stream.h"

namespace keyhole {

// Either side may be host or device memory. Runs beside the calling thread only where host memory
// is pinned; pinned memory must stay as it is until the stream has passed the copy.
// Errors: FAILED_PRECONDITION without CUDA; others of the device.
absl::Status CopyAsync(const Stream& stream, void* to, const void* from, std::size_t bytes);

// Sets every byte of device memory.
absl::Status FillAsync(const Stream& stream, void* to, int value, std::size_t bytes);

}  // namespace keyhole
