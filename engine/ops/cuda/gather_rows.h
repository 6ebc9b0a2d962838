// Fetches scattered rows of KV pages into device memory.
#pragma once

#include <cstdint>
#include <span>

#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

struct GatherRowsParams {
  KvPages store = {};  // pinned host memory, read in place
  DevicePageTable pages = {};
  const std::int32_t* rows = nullptr;   // [n], device; every row lies in `pages`
  const std::int32_t* slots = nullptr;  // [n], device: where row i goes; null: to i
  std::int32_t n = 0;
  std::byte* to = nullptr;  // rows of layout.row_bytes(), one after another, device
};

// Copies bytes. REQUIRES: one layout; a row is a multiple of 8 bytes. Throws std::logic_error
// otherwise, DeviceError.
void GatherRows(std::int32_t layer,
                std::span<const GatherRowsParams> sequences,
                Workspace& workspace);

// The same by numbers over all pages and layers (KvLayout::row_number).
struct NumberedRowsParams {
  const std::byte* from = nullptr;        // row 0, in pinned host memory
  std::byte* to = nullptr;                // row 0 of where they go, device
  std::size_t row_bytes = 0;              // a multiple of 8
  const std::int32_t* rows = nullptr;     // [n], device
  const std::int32_t* targets = nullptr;  // [n], device: row rows[i] goes to row targets[i]
  std::int32_t n = 0;
};

void GatherNumberedRows(const NumberedRowsParams& params, Workspace& workspace);

}  // namespace keyhole::cuda
