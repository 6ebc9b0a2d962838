// The tables by which the device finds its hot rows, in its own memory.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "engine/device/device_buffer.h"
#include "engine/kv/device_arena.h"
#include "engine/ops/cuda/kernels/resolve_rows.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

// 4 bytes for each row of a page over all layers, where pages spill; 8 for each hot row.
// Owner: attention. Thread: executor only. REQUIRES: the stream outlives it.
class HotRowMemory {
 public:
  // For `n_pages` pages; no hot row holds anything. Throws DeviceError.
  HotRowMemory(const Stream& stream,
               const DeviceArena& arena,
               const ResidencyPlan& plan,
               std::int32_t n_pages);

  // Every slot is empty, in the order of the stream's work: after a step that failed, when rows
  // may be missing that the tables have.
  void Reset();

  // Which page is in which slot of the device, by page, for launches queued after this call. The
  // same as last time costs nothing.
  void SetPageSlots(std::span<const std::int32_t> slots);

  const HotRowTables& tables() const { return tables_; }
  std::int32_t n_page_slots() const { return n_page_slots_; }

 private:
  const Stream& stream_;
  std::int32_t n_page_slots_;
  Workspace page_slots_;
  DeviceBuffer read_pages_;
  DeviceBuffer slots_;
  DeviceBuffer rows_;
  DeviceBuffer marks_;
  DeviceBuffer clocks_;
  HotRowTables tables_;
};

}  // namespace keyhole::cuda
