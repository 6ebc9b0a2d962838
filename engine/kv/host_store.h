// The memory of all KV pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/kv/kv_layout.h"
#include "engine/types.h"

namespace keyhole {

// Reserves address space for every page at once; physical memory grows with the pages in use.
// Thread: the executor writes rows; the address computations are const and safe anywhere.
class HostStore {
 public:
  // Errors: RESOURCE_EXHAUSTED if the address space cannot be reserved.
  static absl::StatusOr<std::unique_ptr<HostStore>> Create(const KvLayout& layout,
                                                           std::int32_t n_pages);
  ~HostStore();
  HostStore(const HostStore&) = delete;
  HostStore& operator=(const HostStore&) = delete;

  // First row of `layer` in `page`; page_size rows follow, layout().row_bytes() apart.
  std::byte* LayerRows(PageId page, std::int32_t layer) const {
    return base_ + static_cast<std::size_t>(page) * layout_.page_bytes() + layout_.offset(layer, 0);
  }

  // Gives the physical memory of a free page back to the system.
  void Discard(PageId page);

  const KvLayout& layout() const { return layout_; }
  std::int32_t n_pages() const { return n_pages_; }

 private:
  HostStore(const KvLayout& layout, std::int32_t n_pages, std::byte* base, std::size_t bytes);

  KvLayout layout_;
  std::int32_t n_pages_;
  std::byte* base_;
  std::size_t bytes_;
};

}  // namespace keyhole
