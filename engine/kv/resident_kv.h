// KV rows where the accelerator reads them: pages and hot rows on the device, the rest on the host.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/kv/device_arena.h"
#include "engine/kv/device_pages.h"
#include "engine/kv/host_store.h"
#include "engine/kv/hot_rows.h"
#include "engine/kv/page_residency.h"
#include "engine/kv/residency.h"
#include "engine/kv/row_fetcher.h"
#include "engine/kv/write_back.h"

namespace keyhole {

// What it works with; all of it outlives the object.
struct ResidentKvParts {
  const Stream* stream = nullptr;   // of all work that reads or writes rows
  const HostStore* host = nullptr;  // may be null with residency `device`
  RowCopier* copier = nullptr;      // null: rows are resolved on the device, Fetch is not called
};

// A step's calls, in this order; `run` is the caller's own work on the stream:
//   Hold(pages with initial, local and new rows), Write(pages with new rows), run,
//   for each layer: Fetch(selected rows), run; Settle, Save(pages that are full), Release.
// Where rows are resolved on the device (ops/cuda/resolve_rows.h), Fetch is that operator's launch,
// its tables are those of pages(), TakeVoided comes before it and TouchRead after the step.
// A step that fails at any of them calls Release for what it holds, and may be run again: the rows
// of steps that were settled are neither lost nor changed. The bytes that `run` reads are the same
// with every residency.
// Owner: the model executor. Thread: executor only.
class ResidentKv {
 public:
  // Errors: those of PlanResidency and of the device; INVALID_ARGUMENT where pages spill and there
  // is no host or copier for them.
  static absl::StatusOr<std::unique_ptr<ResidentKv>> Create(const ResidencySettings& settings,
                                                            const KvLayout& layout,
                                                            std::int32_t n_pages,
                                                            const ResidentKvParts& parts);
  ~ResidentKv();

  // See PageResidency.
  absl::Status Hold(std::span<const PageId> pages) { return residency_.Hold(pages); }
  void Release(std::span<const PageId> pages) { residency_.Release(pages); }
  absl::Status Save(std::span<const PageId> pages) { return residency_.Save(pages); }
  absl::Status Collect() { return residency_.Collect(); }

  // New rows of these pages are about to be written. REQUIRES: they are held.
  void Write(std::span<const PageId> pages);

  // See RowFetcher.
  absl::StatusOr<FetchTicket> Fetch(std::int32_t layer, std::span<const FetchParams> sequences) {
    return fetcher_.Fetch(layer, sequences);
  }

  // Blocks until all copies to the device that the step needed are done, and tells whether what it
  // read was right. Errors: of those copies; what they brought is taken off the device again.
  absl::Status Settle();

  // Pages of which fetched rows, if there are any, are void, since the last such call. Only where
  // rows are resolved on the device.
  std::vector<PageId> TakeVoided() { return std::exchange(voided_, {}); }

  // See DevicePages.
  void TouchRead(std::span<const std::int32_t> read) { pages_.TouchRead(read); }

  // Nobody has the page any more. REQUIRES: it is not held.
  void Forget(PageId page);

  // Page i of a table of `pages`, for kernels that read pages: -1 where it is not on the device.
  void SlotsOf(std::span<const PageId> pages, std::span<std::int32_t> slots) const;

  const ResidencyPlan& plan() const { return plan_; }
  const DeviceArena& arena() const { return arena_; }
  const DevicePages& pages() const { return pages_; }
  const PageResidency& residency() const { return residency_; }
  const FetchStats& fetch_stats() const { return fetcher_.stats(); }

 private:
  ResidentKv(const ResidencyPlan& plan,
             std::int32_t n_pages,
             DeviceArena arena,
             std::optional<WriteBackQueue> queue,
             const ResidentKvParts& parts);

  void ForgetHotRows(PageId page);

  ResidencyPlan plan_;
  DeviceArena arena_;
  DevicePages pages_;
  HotRows hot_;
  PageResidency residency_;
  RowFetcher fetcher_;
  bool on_device_;              // rows are resolved there
  std::vector<PageId> voided_;  // until they are taken
};

}  // namespace keyhole
