// Finds selected rows on the device and fetches those that are not there.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/kv/device_arena.h"
#include "engine/kv/device_pages.h"
#include "engine/kv/fetch_ticket.h"
#include "engine/kv/host_store.h"
#include "engine/kv/hot_rows.h"
#include "engine/kv/pending_events.h"
#include "engine/kv/row_copier.h"

namespace keyhole {

// Of one sequence.
struct FetchParams {
  std::span<const PageId> pages = {};       // its page table
  std::span<const std::int32_t> rows = {};  // its rows, in any order
  std::int32_t* places = nullptr;           // out: [rows.size()], where each lies in the arena
};

struct FetchStats {
  std::int64_t n_rows = 0;      // asked for
  std::int64_t n_in_pages = 0;  // in pages of the device
  std::int64_t n_fetched = 0;   // copied; the rest was hot
};

// What it works on; all of it outlives the object.
struct RowFetcherParts {
  const Stream* stream = nullptr;   // of the copies and of those who read the rows
  const HostStore* host = nullptr;  // null: every page is on the device
  const DeviceArena* arena = nullptr;
  DevicePages* pages = nullptr;
  HotRows* hot = nullptr;
  RowCopier* copier = nullptr;
};

// Owner: ResidentKv. Thread: executor only.
class RowFetcher {
 public:
  explicit RowFetcher(const RowFetcherParts& parts) : parts_(parts), events_(*parts.stream) {}

  // Rows of `layer`, of all sequences that are read together. Places are good for work that is
  // queued before the layer's next fetch and before pages are held again.
  // Errors: RESOURCE_EXHAUSTED for more rows than the layer has hot ones, INTERNAL for a row that
  // nobody has, those of copies. Then no row counts as fetched; the call may be made again.
  absl::StatusOr<FetchTicket> Fetch(std::int32_t layer, std::span<const FetchParams> sequences);

  // Blocks until all that was fetched is there. Errors: of those copies; then none of it counts.
  absl::Status Settle();

  const FetchStats& stats() const { return stats_; }

 private:
  absl::Status FindInPages(std::int32_t layer, const FetchParams& params);
  absl::StatusOr<FetchTicket> Copy(std::int32_t layer);

  RowFetcherParts parts_;
  PendingEvents events_;
  std::vector<std::int32_t> loaded_;  // rows fetched and not settled
  FetchStats stats_;

  // Reused from call to call. The first three are parallel.
  std::vector<std::int32_t> spilled_;  // rows of pages that are not on the device
  std::vector<std::int32_t*> wanted_;  // where their places go
  std::vector<std::int32_t> slots_;
  std::vector<RowMove> moves_;
};

}  // namespace keyhole
