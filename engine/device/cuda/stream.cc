#include "engine/device/stream.h"

#include "engine/device/cuda/cuda_status.h"
#include "engine/device/event.h"

namespace keyhole {

absl::StatusOr<Stream> Stream::Create() {
  cudaStream_t handle = nullptr;
  absl::Status status =
      CudaStatus(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "creating a stream");
  if (!status.ok()) return status;
  return Stream(handle);
}

absl::Status Stream::Synchronize() const {
  return CudaStatus(cudaStreamSynchronize(handle()), "work of a stream");
}

absl::Status Stream::WaitFor(const Event& event) const {
  return CudaStatus(cudaStreamWaitEvent(handle(), event.handle(), 0), "waiting for an event");
}

void Stream::Destroy::operator()(CUstream_st* handle) const { cudaStreamDestroy(handle); }

}  // namespace keyhole
