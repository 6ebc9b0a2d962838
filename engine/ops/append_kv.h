// Writes new keys and values into KV pages.
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/host_store.h"

namespace keyhole {

struct AppendKvParams {
  HostStore* store = nullptr;
  std::int32_t layer = 0;
  std::span<const PageId> pages = {};  // page table of the sequence
  std::int32_t first = 0;              // row of the first token
  std::int32_t n_tokens = 0;
  const float* keys = nullptr;    // [n_tokens, n_kv_heads, head_dim], in the form that pages hold
  const float* values = nullptr;  // the same shape
};

// Rounds to the store's element type, to nearest even.
// REQUIRES: every row lies in `pages`. Throws std::logic_error otherwise.
void AppendKv(Device& device, std::span<const AppendKvParams> sequences);

}  // namespace keyhole
