// The pages of one sequence, in the order of its tokens.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/types.h"

namespace keyhole {

// Holds one reference to each of its pages and gives them back when it goes.
// Thread: engine thread only. REQUIRES: the pool outlives a table that is not empty.
class PageTable {
 public:
  PageTable() = default;
  // Takes over one reference to each page.
  PageTable(PagePool* pool, std::vector<PageId> pages) : pool_(pool), pages_(std::move(pages)) {}
  PageTable(PageTable&& other) noexcept
      : pool_(other.pool_), pages_(std::exchange(other.pages_, {})) {}
  PageTable& operator=(PageTable&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(pages_, other.pages_);
    other.Clear();
    return *this;
  }
  ~PageTable() { Clear(); }

  // Takes over one reference to each of these too.
  void Append(PagePool* pool, std::span<const PageId> pages) {
    pool_ = pool;
    pages_.insert(pages_.end(), pages.begin(), pages.end());
  }

  // Page of token i: pages()[i / page_size].
  std::span<const PageId> pages() const { return pages_; }

 private:
  void Clear() {
    if (!pages_.empty()) pool_->Release(pages_);
    pages_.clear();
  }

  PagePool* pool_ = nullptr;
  std::vector<PageId> pages_;
};

}  // namespace keyhole
