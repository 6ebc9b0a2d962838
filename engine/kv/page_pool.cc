#include "engine/kv/page_pool.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/check.h"

namespace keyhole {

PagePool::PagePool(std::int32_t n_pages, OnFree on_free)
    : free_(n_pages), references_(n_pages, 0), on_free_(std::move(on_free)) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

absl::StatusOr<std::vector<PageId>> PagePool::Allocate(std::int32_t count) {
  if (count > n_free()) {
    return absl::ResourceExhaustedError(
        absl::StrCat(count, " KV pages are needed and ", n_free(), " are free"));
  }
  std::vector<PageId> pages(free_.rbegin(), free_.rbegin() + count);
  free_.resize(free_.size() - count);
  for (const PageId page : pages) references_[page] = 1;
  return pages;
}

void PagePool::Retain(PageId page) {
  KEYHOLE_CHECK(references_[page] > 0, "only a page in use can get another owner");
  ++references_[page];
}

void PagePool::Release(PageId page) {
  KEYHOLE_CHECK(references_[page] > 0, "only a page in use can be released");
  if (--references_[page] > 0) return;
  free_.push_back(page);
  if (on_free_) on_free_(page);
}

void PagePool::Release(std::span<const PageId> pages) {
  for (const PageId page : pages) Release(page);
}

}  // namespace keyhole
