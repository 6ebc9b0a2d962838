// Which pages are on the device, in which slots, and which of them the host has as well. Knows
// nothing of memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/types.h"

namespace keyhole {

// What a page holds is named by a version, so that a copy that ends late is known to be old. Tables
// are arrays by page and by slot, fit to be moved to the device as they are.
// Owner: ResidentKv. Thread: executor only.
class DevicePages {
 public:
  static constexpr std::int32_t kNone = -1;

  DevicePages(std::int32_t n_pages, std::int32_t n_slots);

  std::int32_t slot(PageId page) const { return slots_[page]; }  // or kNone
  std::int32_t n_free() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t n_slots() const { return static_cast<std::int32_t>(pages_.size()); }

  // Gives the page a free slot; counts as use. REQUIRES: it has none, and one is free.
  std::int32_t Take(PageId page);
  // The slot is free again; what it held is gone. Pins stay.
  void Drop(PageId page);
  void Touch(PageId page);  // REQUIRES: it has a slot

  void Pin(PageId page) { ++pins_[page]; }
  void Unpin(PageId page);
  std::int32_t pins(PageId page) const { return pins_[page]; }
  // Slots that the device says it read, by slot: each counts as used, in the order of the slots.
  void TouchRead(std::span<const std::int32_t> read);
  // Of the pages that have a slot and no pins, the least recently used.
  std::optional<PageId> LeastRecent() const;

  // New rows are about to be written: what the host has is old from now on.
  void MarkWritten(PageId page) { versions_[page].current = ++clock_; }
  // A copy to the host is on its way, of what the page holds now, and how it ended.
  std::int64_t MarkSaving(PageId page);
  void MarkSaved(PageId page, std::int64_t version);
  void MarkNotSaved(PageId page, std::int64_t version);
  bool saving(PageId page) const { return versions_[page].saving == versions_[page].current; }
  // Nothing was written to it.
  bool empty(PageId page) const { return versions_[page].current == 0; }
  // The host has all that the page holds.
  bool saved(PageId page) const { return versions_[page].saved == versions_[page].current; }

  // What the slot holds is void and the host's copy of `version` is what counts. Nothing happens if
  // the host has another one by now.
  void Restore(PageId page, std::int64_t version);
  std::int64_t saved_version(PageId page) const { return versions_[page].saved; }
  // The page is empty: neither side has anything of it.
  void Forget(PageId page);

  // Whether the page was without its slot since the last such call: only then can rows of it have
  // been fetched.
  bool TakeLeft(PageId page) { return std::exchange(left_[page], 0) != 0; }

  // By page, as slot() has them; their generation is another after each change.
  std::span<const std::int32_t> slots() const { return slots_; }
  std::int64_t generation() const { return generation_; }

 private:
  // An empty page is of version 0, which nobody saves.
  struct Versions {
    std::int64_t current = 0;
    std::int64_t saving = kNone;
    std::int64_t saved = kNone;
  };

  std::vector<std::int32_t> slots_;  // by page
  std::vector<std::int32_t> pins_;   // by page
  std::vector<std::uint8_t> left_;   // by page
  std::vector<Versions> versions_;   // by page
  std::vector<PageId> pages_;        // by slot; kNone: free
  std::vector<std::int64_t> used_;   // by slot, unique
  std::vector<std::int32_t> free_;   // slots, a stack
  std::int64_t clock_ = 0;           // of uses and of versions
  std::int64_t generation_ = 0;
};

}  // namespace keyhole
