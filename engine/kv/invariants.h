// What must hold between the page pool and its users at any time, as data.
#pragma once

#include <string>
#include <vector>

#include "engine/kv/page_pool.h"

namespace keyhole {

// A copy of the state of a pool and of everything that holds its pages.
struct PageSnapshot {
  std::vector<std::int32_t> references;  // by page
  std::vector<PageId> free_pages;
  std::vector<std::vector<PageId>> holders;  // page tables, reservations, cached prefixes
};

PageSnapshot Snapshot(const PagePool& pool, std::vector<std::vector<PageId>> holders);

// One sentence per violation; empty when all is well. Checks that each page is either free, once,
// or held exactly as often as it is counted.
std::vector<std::string> Violations(const PageSnapshot& snapshot);

}  // namespace keyhole
