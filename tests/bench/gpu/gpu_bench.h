// What benches on a GPU share: memory, times by events, one JSON object a line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "engine/device/device_buffer.h"
#include "engine/device/gpu.h"
#include "engine/device/stream.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole {

struct Microseconds {
  double median = 0;
  double best = 0;
};

// Throws DeviceError.
class GpuBench {
 public:
  explicit GpuBench(bool check);

  bool check() const { return check_; }  // small sizes, once: whether it works
  const Stream& stream() const { return stream_; }
  cuda::Workspace& workspace() { return workspace_; }

  // Memory until the next Forget. Zeros.
  template <typename T>
  T* Take(std::size_t n) {
    return reinterpret_cast<T*>(TakeBytes(n * sizeof(T)));
  }
  template <typename T>
  T* ToDevice(const std::vector<T>& values) {
    T* copy = Take<T>(values.size());
    Copy(copy, values.data(), values.size() * sizeof(T));
    return copy;
  }
  void Copy(void* to, const void* from, std::size_t bytes);
  void Forget();

  // Captured calls are replayed, so that their time is the device's and not that of launches; they
  // do nothing but queue kernels and copies.
  enum class Calls { kCaptured, kLaunched };

  // Of one call, over groups of calls.
  Microseconds Time(const std::function<void()>& call, Calls calls = Calls::kCaptured);

  // Bytes a second of a copy within the device, reads and writes counted: the roof of this run.
  double device_bandwidth() const { return device_bandwidth_; }

  // {"bench": name, "gpu": ..., fields}; a field is `"key": value`.
  void Print(const std::string& name, const std::string& fields) const;

 private:
  std::byte* TakeBytes(std::size_t bytes);

  bool check_;
  GpuInfo gpu_;
  Stream stream_;
  cuda::Workspace workspace_;
  std::deque<DeviceBuffer> buffers_;
  double device_bandwidth_ = 0;
};

}  // namespace keyhole
