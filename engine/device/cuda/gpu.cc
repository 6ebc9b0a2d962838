#include "engine/device/gpu.h"

#include <cstdint>

#include "engine/device/cuda/cuda_status.h"

namespace keyhole {
namespace {

absl::Status KeepFreedMemory(cudaMemPool_t pool) {
  std::uint64_t keep = UINT64_MAX;
  return CudaStatus(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
                    "release threshold of the GPU's memory pool");
}

absl::Status ReadPool(cudaMemPool_t pool, cudaMemPoolAttr attribute, std::uint64_t& bytes) {
  return CudaStatus(cudaMemPoolGetAttribute(pool, attribute, &bytes),
                    "size of the GPU's memory pool");
}

// Buffers can have what is free, and what the pool keeps of those that are gone.
absl::Status CountMemory(cudaMemPool_t pool, GpuInfo& info) {
  std::uint64_t reserved = 0;
  std::uint64_t used = 0;
  absl::Status status =
      CudaStatus(cudaMemGetInfo(&info.free_bytes, &info.total_bytes), "memory of the GPU");
  status.Update(ReadPool(pool, cudaMemPoolAttrReservedMemCurrent, reserved));
  status.Update(ReadPool(pool, cudaMemPoolAttrUsedMemCurrent, used));
  info.free_bytes += reserved - used;
  return status;
}

}  // namespace

bool BuiltWithCuda() { return true; }

absl::StatusOr<GpuInfo> OpenGpu(int ordinal) {
  cudaDeviceProp properties = {};
  GpuInfo info;
  absl::Status status = CudaStatus(cudaSetDevice(ordinal), "choosing the GPU");
  status.Update(CudaStatus(cudaGetDeviceProperties(&properties, ordinal), "properties of the GPU"));
  cudaMemPool_t pool = nullptr;
  if (status.ok()) {
    status = CudaStatus(cudaDeviceGetDefaultMemPool(&pool, ordinal), "memory pool of the GPU");
  }
  if (status.ok()) status = KeepFreedMemory(pool);
  if (status.ok()) status = CountMemory(pool, info);
  if (!status.ok()) return status;
  info.name = properties.name;
  info.major = properties.major;
  info.minor = properties.minor;
  info.n_multiprocessors = properties.multiProcessorCount;
  return info;
}

absl::StatusOr<std::size_t> FreeGpuBytes() {
  std::size_t free = 0;
  std::size_t total = 0;
  absl::Status status = CudaStatus(cudaMemGetInfo(&free, &total), "memory of the GPU");
  if (!status.ok()) return status;
  return free;
}

}  // namespace keyhole
