#include "engine/device/cuda/cuda_status.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "engine/device/device_error.h"

namespace keyhole {
namespace {

// After these the driver refuses every further call of the process.
constexpr cudaError_t kSticky[] = {cudaErrorECCUncorrectable,
                                   cudaErrorNvlinkUncorrectable,
                                   cudaErrorContained,
                                   cudaErrorIllegalAddress,
                                   cudaErrorLaunchTimeout,
                                   cudaErrorContextIsDestroyed,
                                   cudaErrorAssert,
                                   cudaErrorHardwareStackError,
                                   cudaErrorIllegalInstruction,
                                   cudaErrorMisalignedAddress,
                                   cudaErrorInvalidAddressSpace,
                                   cudaErrorInvalidPc,
                                   cudaErrorLaunchFailure,
                                   cudaErrorTensorMemoryLeak,
                                   cudaErrorExternalDevice,
                                   cudaErrorUnknown};

constexpr cudaError_t kNoGpu[] = {cudaErrorNoDevice,
                                  cudaErrorInvalidDevice,
                                  cudaErrorInsufficientDriver,
                                  cudaErrorDevicesUnavailable,
                                  cudaErrorNoKernelImageForDevice,
                                  cudaErrorUnsupportedPtxVersion,
                                  cudaErrorSystemDriverMismatch,
                                  cudaErrorSystemNotReady,
                                  cudaErrorInitializationError};

template <std::size_t n>
bool Contains(const cudaError_t (&errors)[n], cudaError_t error) {
  return std::find(std::begin(errors), std::end(errors), error) != std::end(errors);
}

}  // namespace

absl::Status CudaStatus(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message =
      std::string(what) + ": " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) + ")";
  if (Contains(kSticky, error)) return MarkSticky(absl::InternalError(message));
  cudaGetLastError();
  if (error == cudaErrorMemoryAllocation) return absl::ResourceExhaustedError(message);
  if (Contains(kNoGpu, error)) return absl::FailedPreconditionError(message);
  return absl::InternalError(message);
}

}  // namespace keyhole
