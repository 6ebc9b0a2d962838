// Pages taken for a sequence before its first step is built: committed to it, or given back.
#pragma once

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/kv/page_table.h"

namespace keyhole {

// A reservation that is destroyed without Commit leaves the pool as it was.
// Thread: engine thread only.
class Reservation {
 public:
  // Errors: RESOURCE_EXHAUSTED, and then nothing is taken.
  static absl::StatusOr<Reservation> Reserve(PagePool* pool, std::int32_t n_pages) {
    auto pages = pool->Allocate(n_pages);
    if (!pages.ok()) return std::move(pages).status();
    return Reservation(PageTable(pool, *std::move(pages)));
  }

  PageTable Commit() && { return std::move(pages_); }

 private:
  explicit Reservation(PageTable pages) : pages_(std::move(pages)) {}

  PageTable pages_;
};

}  // namespace keyhole
