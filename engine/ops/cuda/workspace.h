// What calls of an operator on the accelerator reuse: its arguments on their way, and scratch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "engine/device/device_buffer.h"
#include "engine/device/event.h"
#include "engine/device/pinned_buffer.h"
#include "engine/device/stream.h"

namespace keyhole::cuda {

// One operator's, on one stream: buffers grow to the largest call and stay.
// Owner: the caller. Thread: that of the calls. Throws DeviceError.
class Workspace {
 public:
  // kOne: a copy lies where the last one did, unless it is larger than all before, so that captured
  // work finds it; a call blocks until the last copy is done.
  enum class Copies { kMany, kOne };

  explicit Workspace(const Stream& stream, Copies copies = Copies::kMany)  // outlives this object
      : stream_(stream), n_slots_(copies == Copies::kOne ? 1 : kSlots) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  const Stream& stream() const { return stream_; }

  // A copy of `args` in device memory, for kernels queued after this call and before the next one.
  // The same bytes as last time (another layer of the same step) are not copied again. Blocks only
  // where kSlots copies are still on their way.
  template <typename T>
  const T* Upload(std::span<const T> args) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<const T*>(UploadBytes(std::as_bytes(args)));
  }

  // Device memory without a value, for kernels queued before the next call. `n` values of T each
  // time the returned block is asked; see Block.
  class Block;
  Block Reserve(std::size_t bytes);

  std::int64_t n_copies() const { return n_copies_; }

 private:
  static constexpr int kSlots = 8;

  struct Slot {
    PinnedBuffer host;
    DeviceBuffer device;
    std::optional<Event> passed;  // the copy out of `host`
    std::size_t size = 0;
  };

  const void* UploadBytes(std::span<const std::byte> bytes);
  void Grow(Slot& slot, std::size_t bytes);

  const Stream& stream_;
  int n_slots_;
  std::array<Slot, kSlots> slots_;
  int newest_ = 0;
  std::int64_t n_copies_ = 0;
  DeviceBuffer scratch_;
};

// Device memory that arrays are cut from, each aligned to 256 bytes.
class Workspace::Block {
 public:
  static constexpr std::size_t Bytes(std::size_t n, std::size_t size) {
    return (n * size + 255) / 256 * 256;
  }

  explicit Block(std::byte* data) : data_(data) {}

  template <typename T>
  T* Cut(std::size_t n) {
    T* array = reinterpret_cast<T*>(data_);
    data_ += Bytes(n, sizeof(T));
    return array;
  }

 private:
  std::byte* data_;
};

// Throws DeviceError for an error of a launch; `what` is the operator. `error` is a cudaError_t.
void CheckLaunch(int error, std::string_view what);

}  // namespace keyhole::cuda
