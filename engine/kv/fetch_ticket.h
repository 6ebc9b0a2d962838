// A promise that fetched rows will be in their places.
#pragma once

#include "absl/status/status.h"
#include "engine/device/event.h"
#include "engine/device/stream.h"

namespace keyhole {

// Work of the stream that fetches may read the rows at once. Valid until ResidentKv::Settle, which
// tells whether they arrived. Thread: executor only.
class FetchTicket {
 public:
  FetchTicket() = default;  // nothing had to be copied
  explicit FetchTicket(const Event* done) : done_(done) {}

  bool ready() const { return done_ == nullptr; }

  // Later work of another stream waits for the rows; the calling thread does not.
  absl::Status Gate(const Stream& stream) const {
    return ready() ? absl::OkStatus() : stream.WaitFor(*done_);
  }

 private:
  const Event* done_ = nullptr;
};

}  // namespace keyhole
