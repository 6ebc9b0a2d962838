// Errors of the CUDA runtime as statuses.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "absl/status/status.h"

namespace keyhole {

// `what` was being done. RESOURCE_EXHAUSTED for memory; FAILED_PRECONDITION where there is no
// usable GPU; INTERNAL for the rest, marked as sticky (device_error.h) where the context is lost.
// Clears an error that is not sticky, so that no later call reports it again.
absl::Status CudaStatus(cudaError_t error, std::string_view what);

}  // namespace keyhole
