// Coarse scores: of whole blocks of rows, from the coarse copies of their digests.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/digest_store.h"

namespace keyhole {

// With s[p][h][b] the largest scaled product, over the coarse dimensions, of query h of probe p and
// a row of block b, a block's score is the maximum over p of the sum over h of the softmax over b
// of s[p][h][b]: the vote of ScoreRows with a block in place of a row.
struct RankBlocksParams {
  const DigestStore* store = nullptr;
  std::int32_t slot = 0;               // of the layer
  std::span<const PageId> pages = {};  // page table of the sequence
  std::int32_t first = 0;              // blocks of kDigestBlockTokens rows [first, end), all whole
  std::int32_t end = 0;
  std::int32_t n_probes = 0;
  std::int32_t n_heads = 0;              // as in ScoreRowsParams
  const std::int8_t* queries = nullptr;  // [n_probes, n_heads, rank]
  const float* scales = nullptr;         // [n_probes, n_heads]
  float* out = nullptr;                  // [end - first]
};

// Buffers that calls reuse: they grow to the largest call and stay.
// Owner: the caller. Thread: that of the calls.
class RankWorkspace {
 public:
  RankWorkspace();
  ~RankWorkspace();
  RankWorkspace(const RankWorkspace&) = delete;
  RankWorkspace& operator=(const RankWorkspace&) = delete;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// The same bits for any number of threads. Throws std::logic_error where the blocks leave `pages`,
// the store has no coarse digests, or n_heads is no multiple of its n_groups.
void RankBlocks(Device& device, const RankBlocksParams& params, RankWorkspace& workspace);

}  // namespace keyhole
