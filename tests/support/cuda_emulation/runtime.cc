#include <chrono>
#include <cstdlib>
#include <cstring>

#include "cuda_runtime.h"

using cuda_emulation::Call;
using cuda_emulation::TakeFailure;

struct CUstream_st {};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
};

namespace {

constexpr std::size_t kTotalBytes = std::size_t{1} << 34;
std::size_t taken = 0;  // by allocations that were not given back; sizes lie before the data
constexpr std::size_t kHeader = 256;

cudaError_t Failure(Call call) { return static_cast<cudaError_t>(TakeFailure(call)); }

cudaError_t Take(void** data, std::size_t bytes) {
  if (bytes > kTotalBytes - taken) return cudaErrorMemoryAllocation;
  void* memory = nullptr;
  if (posix_memalign(&memory, kHeader, kHeader + bytes) != 0) return cudaErrorMemoryAllocation;
  *static_cast<std::size_t*>(memory) = bytes;
  *data = static_cast<char*>(memory) + kHeader;
  std::memset(*data, 0xFF, bytes);
  taken += bytes;
  return cudaSuccess;
}

cudaError_t Give(void* data) {
  if (data == nullptr) return cudaSuccess;
  void* memory = static_cast<char*>(data) - kHeader;
  taken -= *static_cast<std::size_t*>(memory);
  std::free(memory);
  return cudaSuccess;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
const char* cudaGetErrorString(cudaError_t) { return "emulated"; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaSetDevice(int ordinal) {
  return ordinal == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated on the CPU", 9, 0, 1};
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = kTotalBytes;
  *free_bytes = kTotalBytes - taken;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t*, int) { return cudaSuccess; }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return Failure(Call::kSynchronize); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  const cudaError_t failure = Failure(Call::kHostAlloc);
  return failure != cudaSuccess ? failure : Take(data, bytes);
}
cudaError_t cudaFreeHost(void* data) { return Give(data); }
cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t) {
  const cudaError_t failure = Failure(Call::kMalloc);
  return failure != cudaSuccess ? failure : Take(data, bytes);
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t) { return Give(data); }
cudaError_t cudaMemcpyAsync(
    void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
