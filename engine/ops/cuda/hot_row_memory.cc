#include "engine/ops/cuda/hot_row_memory.h"

#include <cstring>

#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"

namespace keyhole::cuda {
namespace {

DeviceBuffer Take(const Stream& stream, std::size_t n, std::size_t size) {
  absl::StatusOr<DeviceBuffer> buffer = DeviceBuffer::Allocate(stream, n * size);
  ThrowIfFailed(buffer.status());
  return *std::move(buffer);
}

}  // namespace

HotRowMemory::HotRowMemory(const Stream& stream,
                           const DeviceArena& arena,
                           const ResidencyPlan& plan,
                           std::int32_t n_pages)
    : stream_(stream),
      n_page_slots_(plan.n_page_slots),
      page_slots_(stream, Workspace::Copies::kOne) {
  const KvLayout& layout = arena.layout();
  const std::size_t n_rows = plan.spills ? layout.row_number(n_pages, 0, 0) : 0;
  const std::size_t n_hot = static_cast<std::size_t>(plan.n_hot_rows) * layout.n_layers;
  static_assert(sizeof(ResolveCounts) % sizeof(std::int32_t) == 0);
  const std::size_t n_read = plan.n_page_slots + sizeof(ResolveCounts) / sizeof(std::int32_t);
  read_ = Take(stream, n_read, sizeof(std::int32_t));
  slots_ = Take(stream, n_rows, sizeof(std::int32_t));
  rows_ = Take(stream, n_hot, sizeof(std::int32_t));
  marks_ = Take(stream, n_hot, sizeof(std::int32_t));
  clocks_ = Take(stream, layout.n_layers, sizeof(ResolveClock));
  auto* read = read_.data<std::int32_t>();
  tables_ = {.read_pages = read,
             .slots = slots_.data<std::int32_t>(),
             .rows = rows_.data<std::int32_t>(),
             .marks = marks_.data<std::int32_t>(),
             .clocks = clocks_.data<ResolveClock>(),
             .counts = reinterpret_cast<ResolveCounts*>(read + plan.n_page_slots),
             .n_layers = layout.n_layers,
             .page_size = layout.page_size,
             .n_hot_rows = plan.n_hot_rows,
             .first_hot_row = arena.PlaceOfHotRow(0, 0)};
  Reset();
}

void HotRowMemory::SetPageSlots(std::span<const std::int32_t> slots) {
  tables_.page_slots = page_slots_.Upload<std::int32_t>(slots);
}

absl::Status HotRowMemory::TakeRead(std::int32_t* to) {
  absl::Status status = CopyAsync(stream_, to, read_.data(), read_.size());
  status.Update(FillAsync(stream_, read_.data(), 0, read_.size()));
  return status;
}

ResolveCounts HotRowMemory::ReadCounts(const std::int32_t* read) const {
  ResolveCounts counts;
  std::memcpy(&counts, read + n_page_slots_, sizeof(counts));
  return counts;
}

void HotRowMemory::Reset() {
  ThrowIfFailed(FillAsync(stream_, read_.data(), 0, read_.size()));
  ThrowIfFailed(FillAsync(stream_, slots_.data(), kNoRowByte, slots_.size()));
  ThrowIfFailed(FillAsync(stream_, rows_.data(), kNoRowByte, rows_.size()));
  ThrowIfFailed(FillAsync(stream_, marks_.data(), 0, marks_.size()));
  ThrowIfFailed(FillAsync(stream_, clocks_.data(), 0, clocks_.size()));
}

}  // namespace keyhole::cuda
