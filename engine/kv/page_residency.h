// Puts pages on the device and takes them off again, with what they hold.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/kv/device_arena.h"
#include "engine/kv/device_pages.h"
#include "engine/kv/host_store.h"
#include "engine/kv/pending_events.h"
#include "engine/kv/write_back.h"

namespace keyhole {

// What it works on; all of it outlives the object.
struct PageResidencyParts {
  const Stream* stream = nullptr;   // where pages are computed and read
  const HostStore* host = nullptr;  // null: pages never leave the device
  const DeviceArena* arena = nullptr;
  DevicePages* pages = nullptr;
};

// The host's copy of a page is used only after the device has said that it is whole, and a page
// gives up its slot only then: a copy that fails costs time and no row.
// Owner: ResidentKv. Thread: executor only.
class PageResidency {
 public:
  // `queue` takes pages to the host; none where there is no host for them.
  PageResidency(const PageResidencyParts& parts, std::optional<WriteBackQueue> queue)
      : parts_(parts), queue_(std::move(queue)), events_(*parts.stream) {}

  // Keeps these pages on the device until they are released as often as they were held. Those that
  // only the host has are copied, in the order of the stream's work; new ones have no value.
  // Errors: RESOURCE_EXHAUSTED where held pages leave no room; those of copies. Then none of them
  // is held by this call.
  absl::Status Hold(std::span<const PageId> pages);
  void Release(std::span<const PageId> pages);

  // Queues copies to the host of what these pages hold once the stream's present work is done.
  // Those that the host has are left out. Errors: as Settle; those of queueing. A page whose copy
  // fails stays on the device until a later one succeeds.
  absl::Status Save(std::span<const PageId> pages);

  // Takes note of copies to the host that have ended; never blocks. Errors: the first that failed
  // since the last call; nothing is lost.
  absl::Status Collect();

  // Blocks until pages that Hold copied are on the device. Errors: of those copies; then all of
  // them are off the device again, what was written to them since included.
  absl::Status Settle();

  // Blocks until no copy to the host runs any more.
  void Drain();

  std::int64_t n_spilled() const { return n_spilled_; }
  std::int64_t n_loaded() const { return n_loaded_; }

 private:
  struct Load {
    PageId page = 0;
    std::int64_t version = 0;  // of the host's copy
  };

  absl::Status PlaceAll(std::span<const PageId> pages);
  absl::Status MakeRoom();
  absl::Status MakeSaved(PageId page);
  absl::Status CopyToDevice(PageId page);
  void MarkEnded(const WriteBackOutcome& outcome);

  PageResidencyParts parts_;
  std::optional<WriteBackQueue> queue_;
  PendingEvents events_;
  std::vector<Load> loads_;  // not settled
  absl::Status failure_;     // of a copy to the host, until it is told
  std::int64_t n_spilled_ = 0;
  std::int64_t n_loaded_ = 0;
};

}  // namespace keyhole
