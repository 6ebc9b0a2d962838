// What a build without CUDA answers. Host memory is there all the same, not pinned.
#include <cstdlib>

#include "engine/device/device_buffer.h"
#include "engine/device/device_copy.h"
#include "engine/device/event.h"
#include "engine/device/gpu.h"
#include "engine/device/graph.h"
#include "engine/device/pinned_buffer.h"
#include "engine/device/stream.h"

namespace keyhole {
namespace {

constexpr char kNoCuda[] =
    "this build has no CUDA: configure it with -DKEYHOLE_CUDA=ON (preset cuda-release)";
constexpr std::size_t kAlignment = 4096;

absl::Status NoCuda() { return absl::FailedPreconditionError(kNoCuda); }

}  // namespace

bool BuiltWithCuda() { return false; }
absl::StatusOr<GpuInfo> OpenGpu(int) { return NoCuda(); }
absl::StatusOr<std::size_t> FreeGpuBytes() { return NoCuda(); }

absl::StatusOr<Stream> Stream::Create() { return NoCuda(); }
absl::Status Stream::Synchronize() const { return NoCuda(); }
absl::Status Stream::WaitFor(const Event&) const { return NoCuda(); }
void Stream::Destroy::operator()(CUstream_st*) const {}

absl::StatusOr<Event> Event::Create(Timing) { return NoCuda(); }
absl::Status Event::Record(const Stream&) const { return NoCuda(); }
absl::StatusOr<bool> Event::Done() const { return NoCuda(); }
absl::Status Event::Synchronize() const { return NoCuda(); }
absl::StatusOr<float> Event::MillisecondsSince(const Event&) const { return NoCuda(); }
void Event::Destroy::operator()(CUevent_st*) const {}

absl::StatusOr<Graph> Graph::Capture(const Stream&, absl::FunctionRef<absl::Status()>) {
  return NoCuda();
}
absl::Status Graph::Update(const Stream&, absl::FunctionRef<absl::Status()>) { return NoCuda(); }
absl::Status Graph::Launch(const Stream&) const { return NoCuda(); }
void Graph::Destroy::operator()(CUgraphExec_st*) const {}

absl::StatusOr<PinnedBuffer> PinnedBuffer::Allocate(std::size_t bytes) {
  PinnedBuffer buffer;
  buffer.why_pageable_ = kNoCuda;
  if (bytes == 0) return buffer;
  void* data = nullptr;
  if (posix_memalign(&data, kAlignment, bytes) != 0) {
    return absl::ResourceExhaustedError("no host memory");
  }
  buffer.data_ = static_cast<std::byte*>(data);
  buffer.size_ = bytes;
  return buffer;
}

PinnedBuffer::~PinnedBuffer() { std::free(data_); }

absl::StatusOr<DeviceBuffer> DeviceBuffer::Allocate(const Stream&, std::size_t) { return NoCuda(); }
DeviceBuffer::~DeviceBuffer() = default;

absl::Status CopyAsync(const Stream&, void*, const void*, std::size_t) { return NoCuda(); }
absl::Status FillAsync(const Stream&, void*, int, std::size_t) { return NoCuda(); }

}  // namespace keyhole
