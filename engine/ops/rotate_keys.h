// Copies keys from KV pages into a window, rotated to their own positions.
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/host_store.h"
#include "engine/kv/key_ring.h"
#include "engine/kv/row_range.h"
#include "engine/ops/rope.h"

namespace keyhole {

struct RotateKeysParams {
  const HostStore* store = nullptr;  // holds un-rotated keys
  std::int32_t layer = 0;
  std::span<const PageId> pages = {};  // page table of the sequence
  RowRange rows = {};
  RopeRows table = {};  // row r turns by the table's row r
  KeyRing ring = {};    // of this layer
};

// Works from the keys as the pages hold them, so that a window filled later has the same bits.
// REQUIRES: every row lies in `pages` and in the table, rows.size() is at most the ring's capacity.
// Throws std::logic_error otherwise.
void RotateKeys(Device& device, const RotateKeysParams& params);

}  // namespace keyhole
