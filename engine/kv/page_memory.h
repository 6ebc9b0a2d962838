// Address space for all pages of one kind: backed by memory as pages are used, or pinned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/device/pinned_buffer.h"
#include "engine/types.h"

namespace keyhole {

// Thread: Page is const and safe anywhere; Discard on one thread at a time.
class PageMemory {
 public:
  // Errors: INVALID_ARGUMENT for sizes that are not positive or leave the address space;
  // RESOURCE_EXHAUSTED if the address space cannot be reserved.
  static absl::StatusOr<PageMemory> Reserve(std::size_t page_bytes, std::int32_t n_pages);

  // All of it at once, where an accelerator reaches it. Errors: as Reserve, and those of
  // PinnedBuffer. Falls back to pageable memory as that does.
  static absl::StatusOr<PageMemory> ReservePinned(std::size_t page_bytes, std::int32_t n_pages);
  PageMemory(PageMemory&& other) noexcept;
  PageMemory& operator=(PageMemory&& other) noexcept;
  ~PageMemory();

  std::byte* Page(PageId page) const {
    return base_ + static_cast<std::size_t>(page) * page_bytes_;
  }

  // Gives the physical memory of a free page back to the system, unless it is pinned.
  void Discard(PageId page);

  std::int32_t n_pages() const { return n_pages_; }
  // Why it is pageable after ReservePinned; empty if it is pinned.
  const std::string& why_pageable() const { return buffer_.why_pageable(); }
  bool pinned() const { return buffer_.pinned(); }

 private:
  PageMemory(std::size_t page_bytes, std::int32_t n_pages, std::byte* base)
      : page_bytes_(page_bytes), n_pages_(n_pages), base_(base) {}

  std::size_t page_bytes_ = 0;
  std::int32_t n_pages_ = 0;
  std::byte* base_ = nullptr;  // mapped, or that of buffer_
  PinnedBuffer buffer_;
};

}  // namespace keyhole
