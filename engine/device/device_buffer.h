// Memory of the accelerator.
#pragma once

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/device/stream.h"

namespace keyhole {

// Taken and given back in the order of one stream, from the device's pool: neither blocks, and
// memory is used again without a call to the driver. Without a value until it is written.
// Owner: whoever allocated it. Thread: executor only. REQUIRES: its stream outlives it.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;

  // Aligned to 256 bytes. `bytes` may be 0. Errors: RESOURCE_EXHAUSTED where memory is short, from
  // which a caller may recover; FAILED_PRECONDITION without CUDA and while the stream's work is
  // captured: a graph would own the memory.
  static absl::StatusOr<DeviceBuffer> Allocate(const Stream& stream, std::size_t bytes);

  DeviceBuffer(DeviceBuffer&& other) noexcept { Swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    Swap(other);
    return *this;
  }
  // With CUDA it gives memory back. NOLINTNEXTLINE(performance-trivially-destructible)
  ~DeviceBuffer();

  template <typename T = std::byte>
  T* data() const {
    return static_cast<T*>(data_);
  }
  std::size_t size() const { return size_; }

 private:
  void Swap(DeviceBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(stream_, other.stream_);
  }

  void* data_ = nullptr;
  std::size_t size_ = 0;
  CUstream_st* stream_ = nullptr;
};

}  // namespace keyhole
