// Page ids and their reference counts; knows nothing of memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "engine/types.h"

namespace keyhole {

// Thread: engine thread only.
class PagePool {
 public:
  using OnFree = absl::AnyInvocable<void(PageId)>;

  // `on_free` is told of each page that becomes free again, so that its memory can go back.
  explicit PagePool(std::int32_t n_pages, OnFree on_free = nullptr);

  // Takes `count` pages with one reference each. Errors: RESOURCE_EXHAUSTED, and then takes none.
  absl::StatusOr<std::vector<PageId>> Allocate(std::int32_t count);

  // One more owner of a page in use: a prefix shared between sequences.
  void Retain(PageId page);

  // One owner less; the page is free when the last one is gone.
  void Release(PageId page);
  void Release(std::span<const PageId> pages);

  std::int32_t n_pages() const { return static_cast<std::int32_t>(references_.size()); }
  std::int32_t n_free() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t n_used() const { return n_pages() - n_free(); }
  std::int32_t references(PageId page) const { return references_[page]; }
  std::span<const PageId> free_pages() const { return free_; }

 private:
  std::vector<PageId> free_;  // a stack: a page just freed is likely still in a cache
  std::vector<std::int32_t> references_;
  OnFree on_free_;
};

}  // namespace keyhole
