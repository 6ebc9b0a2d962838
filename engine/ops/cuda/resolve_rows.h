// Finds selected rows on the device and gives slots to those that have to be fetched, without the
// host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/kernels/gather_rows.h"
#include "engine/ops/cuda/kernels/resolve_rows.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

struct ResolveRowsParams {
  DevicePageTable pages = {};
  const std::int32_t* rows = nullptr;  // [n], device, in any order
  std::int32_t* places = nullptr;      // [n], device, out: where each lies in the arena
  std::int32_t n = 0;
};

// Where rows that are fetched come from and go to; not looked at where every page has a slot.
struct FetchPath {
  const std::byte* from = nullptr;  // row 0 of the host's pages, pinned
  std::byte* to = nullptr;          // place 0 of the arena
  std::size_t row_bytes = 0;        // a multiple of 8
  std::byte* scratch = nullptr;     // [FetchScratchBytes(n_at_once)], device, 256-byte aligned
};

// Of a call with so many rows.
std::size_t FetchScratchBytes(std::int32_t n);

// One launch after the other: rows are found, what is missing gets slots and is copied. The number
// of those is known to the device alone.
struct FetchRowsArgs {
  ResolveRowsArgs resolve;
  GatherRowsArgs gather;  // max_rows 0: nothing is ever missing

  bool operator==(const FetchRowsArgs&) const = default;
};

// Rows of one layer, of all sequences that are read together. `n_at_once`: a bound on their sum
// that the launches are made for. Arguments are copied by `sequences_workspace` and
// `gather_workspace`, and read by the launches. REQUIRES: rows outside the device's pages are at
// most n_hot_rows of the tables. Throws std::logic_error, DeviceError.
FetchRowsArgs PlanFetchRows(const HotRowTables& tables,
                            const FetchPath& path,
                            std::span<const ResolveRowsParams> sequences,
                            std::int32_t n_at_once,
                            Workspace& sequences_workspace,
                            Workspace& gather_workspace);

void FetchRows(std::int32_t layer, const FetchRowsArgs& args, const Stream& stream);

// What hot rows hold of these pages is void.
void ForgetPages(const HotRowTables& tables, std::span<const PageId> pages, Workspace& workspace);

}  // namespace keyhole::cuda
