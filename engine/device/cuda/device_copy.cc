#include "engine/device/device_copy.h"

#include "engine/device/cuda/cuda_status.h"

namespace keyhole {

absl::Status CopyAsync(const Stream& stream, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  return CudaStatus(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream.handle()),
                    "queueing a copy");
}

absl::Status FillAsync(const Stream& stream, void* to, int value, std::size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  return CudaStatus(cudaMemsetAsync(to, value, bytes, stream.handle()), "queueing a fill");
}

}  // namespace keyhole
