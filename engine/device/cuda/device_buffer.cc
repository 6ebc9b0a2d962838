#include "engine/device/device_buffer.h"

#include "engine/device/cuda/cuda_status.h"

namespace keyhole {

absl::StatusOr<DeviceBuffer> DeviceBuffer::Allocate(const Stream& stream, std::size_t bytes) {
  DeviceBuffer buffer;
  if (bytes == 0) return buffer;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  absl::Status status =
      CudaStatus(cudaStreamIsCapturing(stream.handle(), &capture), "memory of the GPU");
  if (!status.ok()) return status;
  if (capture != cudaStreamCaptureStatusNone) {
    return absl::FailedPreconditionError("memory of the GPU is wanted while work is captured");
  }
  status = CudaStatus(cudaMallocAsync(&buffer.data_, bytes, stream.handle()), "memory of the GPU");
  if (!status.ok()) return status;
  buffer.size_ = bytes;
  buffer.stream_ = stream.handle();
  return buffer;
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) cudaFreeAsync(data_, stream_);
}

}  // namespace keyhole
