// The memory of all KV pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/page_memory.h"
#include "engine/types.h"

namespace keyhole {

// Reserves address space for every page at once; physical memory grows with the pages in use,
// unless it is pinned.
// Thread: the executor writes rows; the address computations are const and safe anywhere.
class HostStore {
 public:
  // Errors: INVALID_ARGUMENT for a layout without rows; those of PageMemory::Reserve.
  static absl::StatusOr<std::unique_ptr<HostStore>> Create(const KvLayout& layout,
                                                           std::int32_t n_pages);

  // All pages at once, in memory that an accelerator reads and writes where the system grants it.
  // Errors: as Create; RESOURCE_EXHAUSTED if there is not so much memory.
  static absl::StatusOr<std::unique_ptr<HostStore>> CreatePinned(const KvLayout& layout,
                                                                 std::int32_t n_pages);

  // First row of `layer` in `page`; page_size rows follow, layout().row_bytes() apart.
  std::byte* LayerRows(PageId page, std::int32_t layer) const {
    return memory_.Page(page) + layout_.offset(layer, 0);
  }

  // Gives the physical memory of a free page back to the system.
  void Discard(PageId page) { memory_.Discard(page); }

  const KvLayout& layout() const { return layout_; }
  std::int32_t n_pages() const { return memory_.n_pages(); }
  bool pinned() const { return memory_.pinned(); }
  const std::string& why_pageable() const { return memory_.why_pageable(); }

 private:
  HostStore(const KvLayout& layout, PageMemory memory)
      : layout_(layout), memory_(std::move(memory)) {}

  KvLayout layout_;
  PageMemory memory_;
};

}  // namespace keyhole
