// Copies pages from the device to the host beside the compute stream's work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/device/event.h"
#include "engine/device/stream.h"
#include "engine/types.h"

namespace keyhole {

struct PageCopy {
  PageId page = 0;
  std::int64_t version = 0;         // of what the page held when the copy was queued
  const std::byte* from = nullptr;  // device
  std::byte* to = nullptr;          // host; pinned, or the copy holds up the calling thread
};

// Pages whose copies ended together. If they failed, the host's bytes of them are void.
struct WriteBackOutcome {
  std::vector<PageCopy> copies;
  absl::Status status;
};

// Copies run in the order of their calls. Both ends must stay until a copy's outcome is taken, but
// a page may be written meanwhile: its version tells.
// Owner: PageResidency. Thread: executor only.
class WriteBackQueue {
 public:
  // Errors: FAILED_PRECONDITION without CUDA; others of the device.
  static absl::StatusOr<WriteBackQueue> Create(std::size_t page_bytes);

  // Queues copies that run after all work that `compute` holds now.
  // Errors: of the device; then no outcome of `copies` will come, though some of them may run.
  absl::Status Add(const Stream& compute, std::vector<PageCopy> copies);

  // The oldest batch of copies, if it is done.
  std::optional<WriteBackOutcome> TakeDone();
  // The oldest batch; blocks until it is done. REQUIRES: !empty().
  WriteBackOutcome TakeNext();

  bool empty() const { return batches_.empty(); }

  // Blocks until no copy runs any more, also of those whose outcome will not come.
  void Drain() { stream_.Synchronize().IgnoreError(); }

 private:
  struct Batch {
    Event done;
    std::vector<PageCopy> copies;
  };

  WriteBackQueue(std::size_t page_bytes, Stream stream, Event written)
      : page_bytes_(page_bytes), stream_(std::move(stream)), written_(std::move(written)) {}
  absl::StatusOr<Event> TakeEvent();
  WriteBackOutcome Pop(absl::Status status);

  std::size_t page_bytes_;
  Stream stream_;
  Event written_;  // in the compute stream, recorded by each Add
  std::deque<Batch> batches_;
  std::vector<Event> spare_;
};

}  // namespace keyhole
