// What operators on the accelerator are told of memory: layouts of kv/ at addresses that the device
// reaches. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "engine/kv/digest_layout.h"
#include "engine/kv/key_ring.h"
#include "engine/kv/kv_layout.h"
#include "engine/ops/cuda/kernels/digest_place.h"
#include "engine/ops/cuda/kernels/row_place.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {

// KV pages: device memory, or host memory that is pinned.
struct KvPages {
  std::byte* base = nullptr;  // of page 0
  KvLayout layout = {};
};

struct DigestPages {
  std::uint8_t* base = nullptr;  // of page 0, device memory
  DigestLayout layout = {};
};

// The page table of a sequence, in device memory.
struct DevicePageTable {
  const PageId* ids = nullptr;
  std::int32_t n = 0;

  std::int64_t n_rows(std::int32_t page_size) const { return std::int64_t{n} * page_size; }
};

constexpr Element ElementOf(KvType type) {
  switch (type) {
    case KvType::kF32:
      return Element::kF32;
    case KvType::kBF16:
      return Element::kBF16;
    case KvType::kInt8:
      break;
  }
  return Element::kInt8;
}

inline RowPlace KeysIn(const KvPages& pages) {
  const KvLayout& layout = pages.layout;
  return {.base = reinterpret_cast<unsigned char*>(pages.base),
          .row_bytes = static_cast<std::int64_t>(layout.row_bytes()),
          .layer_bytes = static_cast<std::int64_t>(layout.layer_bytes()),
          .page_bytes = static_cast<std::int64_t>(layout.page_bytes()),
          .page_size = layout.page_size};
}

inline RowPlace ValuesIn(const KvPages& pages) {
  RowPlace place = KeysIn(pages);
  place.base += pages.layout.key_bytes();
  return place;
}

// Of one layer, or of all of them: then base is that of layer 0.
inline RowPlace RowsIn(const KeyRing& ring) {
  return {.base = reinterpret_cast<unsigned char*>(ring.base),
          .row_bytes = static_cast<std::int64_t>(ring.row_bytes),
          .layer_bytes = static_cast<std::int64_t>(ring.layer_bytes),
          .capacity = ring.capacity};
}

// The capacity of a ring that no row's number goes around: a plain array.
constexpr std::int32_t kAnyRow = std::numeric_limits<std::int32_t>::max();

// Rows by their numbers over all pages and layers (KvLayout::row_number), as attention takes
// gathered ones.
inline KeyRing KeysByNumber(const KvPages& pages) {
  return {pages.base, kAnyRow, pages.layout.row_bytes()};
}

inline KeyRing ValuesByNumber(const KvPages& pages) {
  KeyRing ring = KeysByNumber(pages);
  ring.base += pages.layout.key_bytes();
  return ring;
}

inline DigestPlace DigestsIn(const DigestPages& pages) {
  const DigestLayout& layout = pages.layout;
  return {.base = pages.base,
          .page_bytes = static_cast<std::int64_t>(layout.page_bytes()),
          .slot_bytes = static_cast<std::int64_t>(layout.slot_bytes()),
          .page_size = layout.page_size,
          .n_groups = layout.n_groups,
          .rank = layout.rank};
}

}  // namespace keyhole::cuda
