// Scores of candidate rows from their digests.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/digest_store.h"
#include "engine/kv/row_range.h"

namespace keyhole {

// With s[p][h][j] the scaled product of query h of probe p and candidate j:
enum class ScoreRule {
  kVote,   // max over p of the sum over h of softmax over j of s[p][h][j] (TokenSelect)
  kShift,  // max over p and h of s[p][h][j] - max over j of s[p][h][j] (ESA eq. 3-4)
};

struct ScoreRowsParams {
  const DigestStore* store = nullptr;
  std::int32_t slot = 0;               // of the layer
  std::span<const PageId> pages = {};  // page table of the sequence
  RowRange rows = {};                  // the candidates
  // Some blocks of kDigestBlockTokens rows, by number: then `rows` are places in these blocks, one
  // after another. Empty: all.
  std::span<const std::int32_t> blocks = {};
  ScoreRule rule = ScoreRule::kVote;
  std::int32_t n_probes = 0;
  std::int32_t n_heads = 0;  // queries of a probe; head h meets group h * n_groups / n_heads
  const std::int8_t* queries = nullptr;  // [n_probes, n_heads, rank]
  const float* scales = nullptr;         // [n_probes, n_heads]: from product of codes to s, >= 0
  float* out = nullptr;                  // [rows.size()]
};

// Buffers that calls reuse: they grow to the largest call and stay.
// Owner: the caller. Thread: that of the calls.
class ScoreWorkspace {
 public:
  ScoreWorkspace();
  ~ScoreWorkspace();
  ScoreWorkspace(const ScoreWorkspace&) = delete;
  ScoreWorkspace& operator=(const ScoreWorkspace&) = delete;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Products of codes are exact integers. A sequence's scores depend on its own numbers alone, bit
// for bit, for any number of threads: tiles of rows are fixed and merged in order. One sequence
// uses all threads. Nothing of the size probes x candidates is kept. REQUIRES: every candidate lies
// in `pages`, n_heads is a multiple of the store's n_groups, rank <= 8192. Throws std::logic_error
// otherwise. kShift is the same at every CPU level; kVote to 1e-6 relative, since the portable one
// fuses nothing.
void ScoreRows(Device& device,
               std::span<const ScoreRowsParams> sequences,
               ScoreWorkspace& workspace);

}  // namespace keyhole
