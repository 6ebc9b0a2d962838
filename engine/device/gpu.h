// The accelerators of this machine.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keyhole {

struct GpuInfo {
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  int n_multiprocessors = 0;
  std::size_t total_bytes = 0;
  std::size_t free_bytes = 0;  // for buffers: what earlier ones gave back is free
};

// False in a build whose calls all fail with FAILED_PRECONDITION, since it has no CUDA.
bool BuiltWithCuda();

// Makes GPU `ordinal` the calling thread's and lets it keep the memory that buffers give back.
// Errors: FAILED_PRECONDITION where there is no such GPU, no driver or no CUDA in the build.
absl::StatusOr<GpuInfo> OpenGpu(int ordinal);

// Bytes of the calling thread's GPU that nobody has, nor the pool that keeps what buffers gave
// back. Errors: of the device.
absl::StatusOr<std::size_t> FreeGpuBytes();

}  // namespace keyhole
