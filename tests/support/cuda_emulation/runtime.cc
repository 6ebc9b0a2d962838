#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

using cuda_emulation::Call;
using cuda_emulation::Queue;
using cuda_emulation::TakeFailure;

using Captured = std::vector<std::function<void()>>;

struct CUstream_st {
  bool captures = false;
  bool invalid = false;  // the capture met what cannot be captured
  Captured captured = {};
  bool hangs = false;
};
struct CUgraph_st {
  Captured work;
};
struct CUgraphExec_st {
  Captured work;
  std::size_t bytes;
};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
  bool hangs = false;
};

namespace {

constexpr std::size_t kTotalBytes = std::size_t{1} << 34;
constexpr std::size_t kHeader = 256;  // the size lies before the data

// Of the device's memory: what is in use, and what came back and is kept.
struct Pool {
  std::mutex mutex;
  std::uint64_t used = 0;
  std::uint64_t reserved = 0;  // at least what is used
  std::uint64_t threshold = 0;
  std::uint64_t graphs = 0;
};
Pool pool;
std::size_t graph_bytes = 0;

thread_local cudaStream_t capturing = nullptr;  // the calling thread's

cudaError_t Failure(Call call) { return static_cast<cudaError_t>(TakeFailure(call)); }

cudaError_t Lost() { return static_cast<cudaError_t>(cuda_emulation::LostContext()); }

cudaError_t Take(void** data, std::size_t bytes) {
  if (bytes > kTotalBytes) return cudaErrorMemoryAllocation;
  void* memory = nullptr;
  if (posix_memalign(&memory, kHeader, kHeader + bytes) != 0) return cudaErrorMemoryAllocation;
  *static_cast<std::size_t*>(memory) = bytes;
  *data = static_cast<char*>(memory) + kHeader;
  std::memset(*data, 0xFF, bytes);
  return cudaSuccess;
}

cudaError_t TakeOfPool(void** data, std::size_t bytes) {
  const std::lock_guard lock(pool.mutex);
  if (bytes > kTotalBytes - pool.graphs - pool.used) return cudaErrorMemoryAllocation;
  if (const cudaError_t error = Take(data, bytes); error != cudaSuccess) return error;
  pool.used += bytes;
  pool.reserved = std::max(pool.reserved, pool.used);
  return cudaSuccess;
}

// What a capture does not allow: of its stream, and of the thread that captures.
cudaError_t Refuse(cudaStream_t stream) {
  if (stream == nullptr || !stream->captures) return cudaSuccess;
  stream->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

// The bytes that were there.
std::size_t Give(void* data) {
  if (data == nullptr) return 0;
  void* memory = static_cast<char*>(data) - kHeader;
  const std::size_t bytes = *static_cast<std::size_t*>(memory);
  std::free(memory);
  return bytes;
}

void GiveToPool(void* data) {
  const std::lock_guard lock(pool.mutex);
  pool.used -= Give(data);
  pool.reserved = std::max(pool.used, std::min(pool.reserved, pool.threshold));
}

}  // namespace

cudaError_t cuda_emulation::Queue(cudaStream_t stream, std::function<void()> work) {
  if (const cudaError_t lost = Lost(); lost != cudaSuccess) return lost;
  if (stream == nullptr || !stream->captures) {
    work();
  } else {
    stream->captured.push_back(std::move(work));
  }
  return cudaSuccess;
}

void cuda_emulation::SetGraphBytes(std::size_t bytes) { graph_bytes = bytes; }

void cuda_emulation::Hang(cudaStream_t stream) { stream->hangs = true; }

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
const char* cudaGetErrorString(cudaError_t) { return "emulated"; }
cudaError_t cudaGetLastError() { return Lost(); }
cudaError_t cudaSetDevice(int ordinal) { return ordinal == 0 ? Lost() : cudaErrorInvalidDevice; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated on the CPU", 9, 0, 1};
  return Lost();
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = kTotalBytes;
  const std::lock_guard lock(pool.mutex);
  *free_bytes = kTotalBytes - pool.graphs - pool.reserved;
  return Lost();
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t*, int) { return Lost(); }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void* value) {
  if (attribute != cudaMemPoolAttrReleaseThreshold) return cudaErrorInvalidValue;
  const std::lock_guard lock(pool.mutex);
  pool.threshold = *static_cast<std::uint64_t*>(value);
  return Lost();
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void* value) {
  const std::lock_guard lock(pool.mutex);
  const bool used = attribute == cudaMemPoolAttrUsedMemCurrent;
  if (!used && attribute != cudaMemPoolAttrReservedMemCurrent) return cudaErrorInvalidValue;
  *static_cast<std::uint64_t*>(value) = used ? pool.used : pool.reserved;
  return Lost();
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (const cudaError_t lost = Lost(); lost != cudaSuccess) return lost;
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return Lost();
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const cudaError_t refused = Refuse(stream);
  return refused != cudaSuccess ? refused : Failure(Call::kSynchronize);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const cudaError_t refused = Refuse(stream);
  if (refused != cudaSuccess) return refused;
  return Lost() == cudaSuccess && stream->hangs ? cudaErrorNotReady : Lost();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return Lost(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t lost = Lost(); lost != cudaSuccess) return lost;
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return Lost();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->hangs = stream->hangs;
  event->time = std::chrono::steady_clock::now();
  return Lost();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t refused = Refuse(capturing); refused != cudaSuccess) return refused;
  if (const cudaError_t lost = Lost(); lost != cudaSuccess) return lost;
  return event->hangs ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  const cudaError_t refused = Refuse(capturing);
  return refused != cudaSuccess ? refused : Lost();
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return Lost();
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  if (const cudaError_t refused = Refuse(capturing); refused != cudaSuccess) return refused;
  const cudaError_t failure = Failure(Call::kHostAlloc);
  return failure != cudaSuccess ? failure : Take(data, bytes);
}
cudaError_t cudaFreeHost(void* data) {
  Give(data);
  return Lost();
}
// Also while work is captured: then the memory of a real device is the graph's.
cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t) {
  const cudaError_t failure = Failure(Call::kMalloc);
  return failure != cudaSuccess ? failure : TakeOfPool(data, bytes);
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  if (const cudaError_t refused = Refuse(stream); refused != cudaSuccess) return refused;
  GiveToPool(data);
  return Lost();
}
cudaError_t cudaMemcpyAsync(
    void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  if (const cudaError_t failure = Failure(Call::kCopy); failure != cudaSuccess) return failure;
  return Queue(stream, [=] { std::memmove(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return Queue(stream, [=] { std::memset(to, value, bytes); });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream->captures ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return Lost();
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (const cudaError_t lost = Lost(); lost != cudaSuccess) return lost;
  *stream = {.captures = true};
  capturing = stream;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const bool whole = !stream->invalid && Lost() == cudaSuccess;
  *graph = whole ? new CUgraph_st{std::move(stream->captured)} : nullptr;
  *stream = {};
  capturing = nullptr;
  if (whole) return cudaSuccess;
  return Lost() != cudaSuccess ? Lost() : cudaErrorStreamCaptureInvalidated;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t failure = Failure(Call::kInstantiate); failure != cudaSuccess) {
    return failure;
  }
  *exec = new CUgraphExec_st{graph->work, graph_bytes};
  const std::lock_guard lock(pool.mutex);
  pool.graphs += graph_bytes;
  return cudaSuccess;
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec,
                                cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo*) {
  if (const cudaError_t lost = Lost(); lost != cudaSuccess) return lost;
  if (exec->work.size() != graph->work.size()) return cudaErrorGraphExecUpdateFailure;
  exec->work = graph->work;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  if (const cudaError_t failure = Failure(Call::kGraphLaunch); failure != cudaSuccess) {
    return failure;
  }
  for (const std::function<void()>& work : exec->work) work();
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  {
    const std::lock_guard lock(pool.mutex);
    pool.graphs -= exec->bytes;
  }
  delete exec;
  return Lost();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return Lost();
}
