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
  // `n_pages` altogether, the first of them those of `shared`.
  // Errors: RESOURCE_EXHAUSTED, and then nothing is taken and `shared` is given back.
  static absl::StatusOr<Reservation> Reserve(PagePool* pool,
                                             std::int32_t n_pages,
                                             PageTable shared = {}) {
    auto pages = pool->Allocate(n_pages - static_cast<std::int32_t>(shared.pages().size()));
    if (!pages.ok()) return std::move(pages).status();
    shared.Append(pool, *pages);
    return Reservation(std::move(shared));
  }

  PageTable Commit() && { return std::move(pages_); }

 private:
  explicit Reservation(PageTable pages) : pages_(std::move(pages)) {}

  PageTable pages_;
};

}  // namespace keyhole
