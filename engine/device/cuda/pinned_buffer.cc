#include "engine/device/pinned_buffer.h"

#include <cstdlib>

#include "engine/device/cuda/cuda_status.h"
#include "engine/device/device_error.h"

namespace keyhole {
namespace {

constexpr std::size_t kPageableAlignment = 4096;

}  // namespace

absl::StatusOr<PinnedBuffer> PinnedBuffer::Allocate(std::size_t bytes) {
  PinnedBuffer buffer;
  if (bytes == 0) return buffer;
  void* data = nullptr;
  const absl::Status status =
      CudaStatus(cudaHostAlloc(&data, bytes, cudaHostAllocPortable), "pinning host memory");
  if (IsSticky(status)) return status;
  if (!status.ok()) {
    buffer.why_pageable_ = std::string(status.message());
    if (posix_memalign(&data, kPageableAlignment, bytes) != 0) {
      return absl::ResourceExhaustedError("no host memory, pinned or pageable");
    }
  }
  buffer.pinned_ = status.ok();
  buffer.data_ = static_cast<std::byte*>(data);
  buffer.size_ = bytes;
  return buffer;
}

PinnedBuffer::~PinnedBuffer() {
  if (pinned_) {
    cudaFreeHost(data_);
  } else {
    std::free(data_);
  }
}

}  // namespace keyhole
