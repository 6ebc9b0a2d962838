// Attention of a sequence's queries over rows that lie in KV pages, and the merge of such parts into one softmax.
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"
#include "engine/kv/host_store.h"
#include "engine/selection/selection.h"

namespace keyhole {

// One part of the softmax of one sequence: `rows` in pages, each seen by every query; or, with `causal_from` set, the
// rows [range.begin, range.end) of which query i sees only those up to causal_from + i.
struct AttendPart {
  const float* queries = nullptr;        // [q_len, n_heads, head_dim], rotated for this part
  RowRange range;                        // used when `rows` is empty
  std::span<const std::int32_t> rows;    // ascending
  std::int32_t causal_from = -1;         // absolute position of query 0, or -1
  float bias = 0;                        // added to the scaled logits of this part
};

struct AttendParams {
  const HostStore* store = nullptr;
  std::int32_t layer = 0;
  std::span<const PageId> pages;         // page table of the sequence
  std::int32_t q_len = 0;
  std::int32_t n_heads = 0;
  float softmax_scale = 0;               // 1 / sqrt(head_dim)
  std::span<const AttendPart> parts;     // together one softmax, merged by log-sum-exp
  float* out = nullptr;                  // [q_len, n_heads, head_dim]
};

// Reductions run over fixed tiles of rows in a fixed order: the result depends neither on the number of threads nor on
// what else is computed. One sequence uses all cores: the work is split over KV heads, query tiles and runs of rows.
// `sequences` are independent of one another and share the pool.
void AttendRows(Device& device, std::span<const AttendParams> sequences);

}  // namespace keyhole
