#include "engine/kv/invariants.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace keyhole {

PageSnapshot Snapshot(const PagePool& pool, std::vector<std::vector<PageId>> holders) {
  PageSnapshot snapshot;
  for (PageId page = 0; page < pool.n_pages(); ++page) {
    snapshot.references.push_back(pool.references(page));
  }
  snapshot.free_pages.assign(pool.free_pages().begin(), pool.free_pages().end());
  snapshot.holders = std::move(holders);
  return snapshot;
}

std::vector<std::string> Violations(const PageSnapshot& snapshot) {
  std::vector<std::string> violations;
  const auto n_pages = static_cast<PageId>(snapshot.references.size());
  std::vector<std::int32_t> held(n_pages, 0);
  std::vector<std::int32_t> listed_free(n_pages, 0);

  const auto count = [&](PageId page, std::vector<std::int32_t>& counts) {
    if (page >= 0 && page < n_pages) {
      ++counts[page];
    } else {
      violations.push_back(absl::StrCat("page ", page, " does not exist"));
    }
  };
  for (const auto& holder : snapshot.holders) {
    for (const PageId page : holder) count(page, held);
  }
  for (const PageId page : snapshot.free_pages) count(page, listed_free);

  for (PageId page = 0; page < n_pages; ++page) {
    const std::int32_t references = snapshot.references[page];
    if (references != held[page]) {
      violations.push_back(absl::StrCat(
          "page ", page, " counts ", references, " references and has ", held[page], " holders"));
    }
    if (listed_free[page] != (references == 0 ? 1 : 0)) {
      violations.push_back(absl::StrCat("page ",
                                        page,
                                        " with ",
                                        references,
                                        " references is on the free list ",
                                        listed_free[page],
                                        " times"));
    }
  }
  return violations;
}

}  // namespace keyhole
