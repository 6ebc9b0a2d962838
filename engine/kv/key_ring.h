// Keys of a sequence's newest rows in one layer, kept apart from the pages. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace keyhole {

// Row r lies at base + (r % capacity) * row_bytes: n_kv_heads heads, as in pages.
struct KeyRing {
  std::byte* base = nullptr;
  std::int32_t capacity = 0;
  std::size_t row_bytes = 0;
  std::size_t layer_bytes = 0;  // to the next layer's ring; 0: of one layer alone

  std::byte* Row(std::int32_t row) const {
    return base + static_cast<std::size_t>(row % capacity) * row_bytes;
  }
};

}  // namespace keyhole
