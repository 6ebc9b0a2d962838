// Sequences with random digests in pages of mixed order.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/kv/digest_store.h"
#include "engine/kv/kv_layout.h"
#include "tests/support/cpu_levels.h"

namespace keyhole {

// What coarse digests keep of a code in [-127, 127]: of the first eight dimensions the upper four
// of eight bits, of others the nearest of four values.
inline std::int32_t CoarseCode(std::int32_t code, std::int32_t dim) {
  if (dim < 8) return static_cast<std::int32_t>(std::floor(code / 16.0)) * 16;
  return code < -32 ? -48 : code < 0 ? -16 : code < 32 ? 16 : 48;
}

inline std::vector<PageId> ShuffledPages(std::int32_t n_pages, std::mt19937& random) {
  std::vector<PageId> pages(n_pages);
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), random);
  return pages;
}

inline std::int32_t CodeAt(const DigestStore& store,
                           std::int32_t slot,
                           const std::vector<PageId>& pages,
                           std::int32_t row,
                           std::int32_t group,
                           std::int32_t dim) {
  const DigestLayout& layout = store.layout();
  const std::uint8_t* at = store.Slot(pages[row / layout.page_size], slot);
  return at[layout.offset(row % layout.page_size, group, dim)] - kDigestBias;
}

struct DigestSequence {
  DigestSequence(const DigestLayout& layout, std::int32_t n, unsigned seed) : n_rows(n) {
    std::mt19937 random(seed);
    const std::int32_t n_pages = std::max(PagesForTokens(n, layout.page_size), 1);
    pages = ShuffledPages(n_pages + 3, random);
    store = DigestStore::Create(layout, n_pages + 3).value();
    pages.resize(n_pages);
    std::uniform_int_distribution<int> byte(1, 255);
    for (const PageId page : pages) {
      std::uint8_t* at = store->Slot(page, 0);
      std::generate_n(at, layout.page_bytes(), [&] { return byte(random); });
      for (std::int32_t slot = 0; slot < layout.n_slots; ++slot) FillCoarse(page, slot);
    }
  }

  void FillCoarse(PageId page, std::int32_t slot) const {
    const DigestLayout& layout = store->layout();
    const std::uint8_t* fine = store->Slot(page, slot);
    for (std::int32_t token = 0; token < layout.page_size; ++token) {
      for (std::int32_t group = 0; group < layout.n_groups; ++group) {
        for (std::int32_t dim = 0; dim < layout.coarse_dims; ++dim) {
          const std::int32_t line = (dim + 8) / 16;
          std::uint8_t& byte =
              store->CoarseSlot(page, slot)[layout.coarse_offset(token, group, line) + dim % 4];
          const std::int32_t code = fine[layout.offset(token, group, dim)] - kDigestBias;
          const std::int32_t coarse = CoarseCode(code, dim);
          const int bits = dim < 8 ? (coarse / 16 + 8) << dim / 4 * 4
                                   : (coarse + 48) / 32 << 2 * ((dim - 8) / 4 % 4);
          byte = static_cast<std::uint8_t>(byte | bits);
        }
      }
    }
  }

  std::int32_t n_rows;
  std::vector<PageId> pages;
  std::unique_ptr<DigestStore> store;
};

}  // namespace keyhole
