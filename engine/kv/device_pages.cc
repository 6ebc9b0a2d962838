#include "engine/kv/device_pages.h"

#include <numeric>

#include "engine/check.h"

namespace keyhole {

DevicePages::DevicePages(std::int32_t n_pages, std::int32_t n_slots)
    : slots_(n_pages, kNone),
      pins_(n_pages, 0),
      left_(n_pages, 0),
      versions_(n_pages),
      pages_(n_slots, kNone),
      used_(n_slots, 0),
      free_(n_slots) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

std::int32_t DevicePages::Take(PageId page) {
  KEYHOLE_CHECK(slots_[page] == kNone && !free_.empty(), "a page takes one slot, a free one");
  const std::int32_t slot = free_.back();
  free_.pop_back();
  slots_[page] = slot;
  pages_[slot] = page;
  used_[slot] = ++clock_;
  ++generation_;
  return slot;
}

void DevicePages::Drop(PageId page) {
  const std::int32_t slot = slots_[page];
  if (slot == kNone) return;
  left_[page] = 1;
  ++generation_;
  slots_[page] = kNone;
  pages_[slot] = kNone;
  free_.push_back(slot);
}

void DevicePages::Touch(PageId page) { used_[slots_[page]] = ++clock_; }

void DevicePages::TouchRead(std::span<const std::int32_t> read) {
  for (std::size_t slot = 0; slot < read.size(); ++slot) {
    if (read[slot] != 0 && pages_[slot] != kNone) used_[slot] = ++clock_;
  }
}

void DevicePages::Unpin(PageId page) {
  KEYHOLE_CHECK(pins_[page] > 0, "only a pinned page can be unpinned");
  --pins_[page];
}

std::optional<PageId> DevicePages::LeastRecent() const {
  std::int32_t oldest = kNone;
  for (std::int32_t slot = 0; slot < n_slots(); ++slot) {
    if (pages_[slot] == kNone || pins_[pages_[slot]] > 0) continue;
    if (oldest == kNone || used_[slot] < used_[oldest]) oldest = slot;
  }
  if (oldest == kNone) return std::nullopt;
  return pages_[oldest];
}

std::int64_t DevicePages::MarkSaving(PageId page) {
  versions_[page].saved = kNone;  // half of one copy and half of another, for a while
  return versions_[page].saving = versions_[page].current;
}

void DevicePages::MarkSaved(PageId page, std::int64_t version) {
  Versions& versions = versions_[page];
  if (versions.saving != version) return;
  versions.saving = kNone;
  versions.saved = version;
}

void DevicePages::MarkNotSaved(PageId page, std::int64_t version) {
  if (versions_[page].saving == version) versions_[page].saving = kNone;
}

void DevicePages::Restore(PageId page, std::int64_t version) {
  Versions& versions = versions_[page];
  if (versions.saved != version) return;
  versions.current = version;
  Drop(page);
}

void DevicePages::Forget(PageId page) {
  Drop(page);
  versions_[page] = {};
}

}  // namespace keyhole
