#include "engine/device/gpu.h"

#include <cstdint>

#include "engine/device/cuda/cuda_status.h"

namespace keyhole {
namespace {

absl::Status KeepFreedMemory(int ordinal) {
  cudaMemPool_t pool = nullptr;
  if (absl::Status status =
          CudaStatus(cudaDeviceGetDefaultMemPool(&pool, ordinal), "memory pool of the GPU");
      !status.ok()) {
    return status;
  }
  std::uint64_t keep = UINT64_MAX;
  return CudaStatus(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
                    "release threshold of the GPU's memory pool");
}

}  // namespace

bool BuiltWithCuda() { return true; }

absl::StatusOr<GpuInfo> OpenGpu(int ordinal) {
  cudaDeviceProp properties = {};
  GpuInfo info;
  absl::Status status = CudaStatus(cudaSetDevice(ordinal), "choosing the GPU");
  status.Update(CudaStatus(cudaGetDeviceProperties(&properties, ordinal), "properties of the GPU"));
  if (status.ok()) status = KeepFreedMemory(ordinal);
  if (status.ok()) {
    status = CudaStatus(cudaMemGetInfo(&info.free_bytes, &info.total_bytes), "memory of the GPU");
  }
  if (!status.ok()) return status;
  info.name = properties.name;
  info.major = properties.major;
  info.minor = properties.minor;
  info.n_multiprocessors = properties.multiProcessorCount;
  return info;
}

}  // namespace keyhole
