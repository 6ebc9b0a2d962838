// Marks in a stream that are waited for together at the end of a step.
#pragma once

#include <cstddef>
#include <deque>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/device/event.h"
#include "engine/device/stream.h"

namespace keyhole {

// Events are made once and used again. Thread: executor only.
class PendingEvents {
 public:
  explicit PendingEvents(const Stream& stream) : stream_(stream) {}  // outlives this object

  // Marks the end of the work that the stream holds now. The event is valid until Settle.
  // Errors: of the device, and then nothing is pending that was not before.
  absl::StatusOr<const Event*> Record();

  // Blocks until all that was marked is done. Afterwards nothing is pending, also if it failed.
  // Errors: the first one of the marked work.
  absl::Status Settle();

  bool empty() const { return n_ == 0; }

 private:
  const Stream& stream_;
  std::deque<Event> events_;  // the first n_ are pending; their addresses stay
  std::size_t n_ = 0;
};

}  // namespace keyhole
