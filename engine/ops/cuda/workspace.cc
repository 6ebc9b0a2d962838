#include "engine/ops/cuda/workspace.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "engine/device/cuda/cuda_status.h"
#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"

namespace keyhole::cuda {
namespace {

constexpr std::size_t kLeastBytes = 4096;

}  // namespace

void Workspace::Grow(Slot& slot, std::size_t bytes) {
  if (!slot.passed.has_value()) slot.passed = ValueOrThrow(Event::Create());
  ThrowIfFailed(slot.passed->Synchronize());
  if (std::min(slot.host.size(), slot.device.size()) >= bytes) return;
  const std::size_t room = std::max(kLeastBytes, bytes + bytes / 2);
  slot.host = ValueOrThrow(PinnedBuffer::Allocate(room));
  slot.device = ValueOrThrow(DeviceBuffer::Allocate(stream_, room));
}

const void* Workspace::UploadBytes(std::span<const std::byte> bytes) {
  const Slot& last = slots_[newest_];
  if (!bytes.empty() && last.size == bytes.size() &&
      std::memcmp(last.host.data(), bytes.data(), bytes.size()) == 0) {
    return last.device.data();
  }
  newest_ = (newest_ + 1) % n_slots_;
  Slot& slot = slots_[newest_];
  slot.size = 0;  // until the copy is queued
  Grow(slot, bytes.size());
  std::copy(bytes.begin(), bytes.end(), slot.host.data());
  ThrowIfFailed(CopyAsync(stream_, slot.device.data(), slot.host.data(), bytes.size()));
  ThrowIfFailed(slot.passed->Record(stream_));
  slot.size = bytes.size();
  ++n_copies_;
  return slot.device.data();
}

Workspace::Block Workspace::Reserve(std::size_t bytes) {
  if (scratch_.size() < bytes) {
    scratch_ = DeviceBuffer();
    scratch_ = ValueOrThrow(DeviceBuffer::Allocate(stream_, bytes + bytes / 4));
  }
  return Block(scratch_.data());
}

void CheckLaunch(int error, std::string_view what) {
  ThrowIfFailed(CudaStatus(static_cast<cudaError_t>(error), "launch of " + std::string(what)));
}

}  // namespace keyhole::cuda
