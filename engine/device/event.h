// A point in a stream's work that others can wait for.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/device/stream.h"

struct CUevent_st;

namespace keyhole {

// Thread: executor only.
class Event {
 public:
  enum class Timing { kNo, kYes };  // times cost a little in the stream

  // Errors: FAILED_PRECONDITION without CUDA; others of the device.
  static absl::StatusOr<Event> Create(Timing timing = Timing::kNo);

  // Marks the end of the work that `stream` holds now. An event may be recorded again.
  absl::Status Record(const Stream& stream) const;

  // True once that work is done, and before the first Record.
  absl::StatusOr<bool> Done() const;

  // Blocks until it is done.
  absl::Status Synchronize() const;

  // Milliseconds from `begin` to this event. REQUIRES: both have timing and are done.
  absl::StatusOr<float> MillisecondsSince(const Event& begin) const;

  CUevent_st* handle() const { return handle_.get(); }

 private:
  struct Destroy {
    void operator()(CUevent_st* handle) const;
  };
  explicit Event(CUevent_st* handle) : handle_(handle) {}

  std::unique_ptr<CUevent_st, Destroy> handle_;
};

}  // namespace keyhole
