// The tables by which the device finds its hot rows, in its own memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "engine/device/device_buffer.h"
#include "engine/kv/device_arena.h"
#include "engine/ops/cuda/kernels/resolve_rows.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

// What the tables take where pages spill: for a page, and for a hot row of one layer.
constexpr std::size_t PageTableBytes(const KvLayout& layout) {
  return sizeof(std::int32_t) * layout.n_layers * layout.page_size;
}
constexpr std::size_t kHotRowTableBytes = 2 * sizeof(std::int32_t);

// Owner: attention. Thread: executor only. REQUIRES: the stream outlives it.
class HotRowMemory {
 public:
  // For `n_pages` pages; no hot row holds anything. Throws DeviceError.
  HotRowMemory(const Stream& stream,
               const DeviceArena& arena,
               const ResidencyPlan& plan,
               std::int32_t n_pages);

  // Every slot is empty, and nothing is read or counted, in the order of the stream's work: after a
  // step that failed, when rows may be missing that the tables have.
  void Reset();

  // What a step read, for the host: queues a copy of it to `to`, and that the next step begins from
  // nothing. Errors: of the device.
  absl::Status TakeRead(std::int32_t* to);
  std::size_t read_words() const { return read_.size() / sizeof(std::int32_t); }

  // Of what TakeRead has copied.
  std::span<const std::int32_t> ReadPages(const std::int32_t* read) const {
    return {read, static_cast<std::size_t>(n_page_slots_)};
  }
  ResolveCounts ReadCounts(const std::int32_t* read) const;

  // Which page is in which slot of the device, by page, for launches queued after this call. The
  // same as last time costs nothing.
  void SetPageSlots(std::span<const std::int32_t> slots);

  const HotRowTables& tables() const { return tables_; }

 private:
  const Stream& stream_;
  std::int32_t n_page_slots_;
  Workspace page_slots_;
  DeviceBuffer read_;  // [n_page_slots], then ResolveCounts
  DeviceBuffer slots_;
  DeviceBuffer rows_;
  DeviceBuffer marks_;
  DeviceBuffer clocks_;
  HotRowTables tables_;
};

}  // namespace keyhole::cuda
