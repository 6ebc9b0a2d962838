// Host memory that the accelerator reads and writes directly, where the system grants it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace keyhole {

// Owner: whoever allocated it. Thread: any; what the accelerator does with it is ordered by
// streams.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;

  // Falls back to pageable memory where none can be pinned (no CUDA, a limit of the system): copies
  // still work then, slower and not beside other work, and kernels cannot reach it. `bytes` may be
  // 0. Errors: RESOURCE_EXHAUSTED if there is no memory at all; sticky errors of the device.
  static absl::StatusOr<PinnedBuffer> Allocate(std::size_t bytes);

  PinnedBuffer(PinnedBuffer&& other) noexcept { Swap(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    Swap(other);
    return *this;
  }
  ~PinnedBuffer();

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool pinned() const { return pinned_; }
  const std::string& why_pageable() const { return why_pageable_; }  // empty if pinned

 private:
  void Swap(PinnedBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(pinned_, other.pinned_);
    std::swap(why_pageable_, other.why_pageable_);
  }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  bool pinned_ = false;
  std::string why_pageable_;
};

}  // namespace keyhole
