// Compresses new keys and writes their digests beside the KV pages.
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/digest_store.h"

namespace keyhole {

struct AppendDigestsParams {
  DigestStore* store = nullptr;
  std::int32_t slot = 0;               // of the layer
  std::span<const PageId> pages = {};  // page table of the sequence
  std::int32_t first = 0;              // row of the first token
  std::int32_t n_tokens = 0;
  const float* keys = nullptr;  // [n_tokens, n_groups, in_dim], un-rotated
  const float* map = nullptr;   // [n_groups, rank, in_dim]
  std::int32_t in_dim = 0;
};

// code = clamp(round to nearest even(map . key), -127, 127), with its coarse copy; sums run over
// in_dim in one order for any number of tokens, threads and sequences. Source: ESA eq. 5-6 (arXiv
// 2502.14477). REQUIRES: every row lies in `pages`. Throws std::logic_error otherwise.
void AppendDigests(Device& device, std::span<const AppendDigestsParams> sequences);

}  // namespace keyhole
