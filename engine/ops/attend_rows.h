// Attention of a sequence's queries over rows that lie in KV pages: several parts, one softmax.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/host_store.h"
#include "engine/kv/key_ring.h"
#include "engine/kv/row_range.h"

namespace keyhole {

// One part of the softmax of one sequence: `rows`, each seen by every query; or, where `rows` is
// empty, `range`. With `causal_from` set query i sees only rows of the range up to causal_from + i.
struct AttendPart {
  const float* queries = nullptr;  // [q_len, n_heads, head_dim], rotated for this part
  RowRange range = {};
  std::span<const std::int32_t> rows = {};  // ascending
  std::int32_t causal_from = -1;            // absolute position of query 0, or -1
  const float* bias = nullptr;  // [q_len], added to the scaled logits of this part; or null
  float scale = 1;              // multiplies softmax_scale in this part
  KeyRing keys = {};            // where the part's keys are; base null: in the pages
};

struct AttendParams {
  const HostStore* store = nullptr;
  std::int32_t layer = 0;
  std::span<const PageId> pages = {};  // page table of the sequence
  std::int32_t q_len = 0;
  std::int32_t n_heads = 0;
  float softmax_scale = 0;                 // 1 / sqrt(head_dim)
  std::span<const AttendPart> parts = {};  // together one softmax
  float* out = nullptr;                    // [q_len, n_heads, head_dim]
};

// Buffers that calls reuse: they grow to the largest step and stay.
// Owner: the caller. Thread: that of the calls.
class AttendWorkspace {
 public:
  AttendWorkspace();
  ~AttendWorkspace();
  AttendWorkspace(const AttendWorkspace&) = delete;
  AttendWorkspace& operator=(const AttendWorkspace&) = delete;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// A query that sees no row gets zeros. The result of a sequence depends on its own numbers alone,
// bit for bit: neither on the number of threads nor on the other sequences. Rows are taken in fixed
// tiles, runs of rows in fixed splits, merged in order. One sequence uses all threads.
// REQUIRES: every row lies in `pages`; head_dim is a multiple of 8. Throws std::logic_error
// otherwise.
void AttendRows(Device& device,
                std::span<const AttendParams> sequences,
                AttendWorkspace& workspace);

}  // namespace keyhole
