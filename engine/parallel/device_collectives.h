// What ranks exchange whose tensors lie on accelerators.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/device/stream.h"
#include "engine/parallel/shard.h"

namespace keyhole {

// Every rank makes the same calls in the same order. f32 arrays in device memory. Once a call has
// failed no later one can succeed. Owner: the executor, for longer than the model. Thread: one at a
// time. Collectives throw DeviceError, UNAVAILABLE where a rank has gone.
class DeviceCollectives {
 public:
  virtual ~DeviceCollectives() = default;

  virtual const Shard& shard() const = 0;

  // x [n] becomes the sum over ranks, the same bits on all of them.
  virtual void AllReduce(const Stream& stream, float* x, std::int64_t n) = 0;

  // out [size, n]: every rank's x [n].
  virtual void AllGather(const Stream& stream, const float* x, std::int64_t n, float* out) = 0;

  // Whether collectives queue work and do nothing else, so that they can be captured.
  virtual bool capturable() const = 0;

  // Synchronize leaves the group where a rank has gone, which takes until nothing is left of what
  // was captured: `drop` gives it up, on another thread, while the caller waits. Set by whoever
  // captures, and reset to null before it goes.
  virtual void set_drop_captured(const std::function<void()>& /*drop*/) {}

  // Blocks until all queued work is done. Errors: UNAVAILABLE where a rank has gone or is too late;
  // those of that work.
  virtual absl::Status Synchronize(const Stream& stream) = 0;

  // The smallest of all ranks' numbers, in the host's memory. Errors: UNAVAILABLE.
  virtual absl::StatusOr<std::int64_t> Smallest(std::int64_t own) = 0;
};

}  // namespace keyhole
