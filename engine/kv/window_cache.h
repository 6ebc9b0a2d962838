// Rotated keys of the newest tokens of each running sequence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/kv/key_ring.h"
#include "engine/kv/kv_layout.h"
#include "engine/kv/row_range.h"
#include "engine/types.h"

namespace keyhole {

// The window of one sequence: a ring of keys per layer. Its rows are a function of the pages, so it
// may be dropped at any time and filled again.
class KeyWindow {
 public:
  KeyWindow(const KvLayout& layout, std::int32_t capacity);
  // In memory of WindowBytes that outlives it, the device's perhaps.
  KeyWindow(const KvLayout& layout, std::int32_t capacity, std::byte* memory);

  KeyRing Ring(std::int32_t layer) const;

  // Makes `rows` the rows that `layer` holds, and returns those of them that have to be written
  // first. Rows from `fresh` on are always written: their tokens are new in this step.
  // REQUIRES: rows.size() is at most the capacity.
  RowRange Advance(std::int32_t layer, RowRange rows, std::int32_t fresh);

 private:
  std::int32_t capacity_;
  std::size_t row_bytes_;
  std::vector<RowRange> held_;  // per layer
  std::unique_ptr<std::byte[]> own_;
  std::byte* memory_;
};

// Of one sequence's window, all layers.
std::size_t WindowBytes(const KvLayout& layout, std::int32_t capacity);

// Memory: WindowBytes for each open window, touched as it fills.
// Owner: attention. Thread: executor only.
class WindowCache {
 public:
  // `capacity`: tokens of the window and of the largest chunk.
  WindowCache(const KvLayout& layout, std::int32_t capacity);

  // The sequence's window, a new one where there is none. Valid until Close.
  KeyWindow& Open(RequestId id);
  void Close(RequestId id);

  std::int32_t capacity() const { return capacity_; }
  std::size_t n_open() const { return windows_.size(); }

 private:
  KvLayout layout_;
  std::int32_t capacity_;
  absl::flat_hash_map<RequestId, std::unique_ptr<KeyWindow>> windows_;
};

}  // namespace keyhole
