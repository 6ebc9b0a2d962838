// An item of an AttendPlan while it runs: what its one query, or its tile of queries, share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/ops/cpu/attend_item.h"

namespace keyhole {

// Where the K and V of up to a tile of rows are.
struct RowPointers {
  const unsigned char* keys[kAttendMostRows];
  const unsigned char* values[kAttendMostRows];
  std::int32_t count = 0;
};

// An item while it runs.
struct AttendRun {
  const AttendWork& work;
  const AttendParams& params;
  const AttendItem& item;
  AttendScratch& scratch;
  AttendState state;

  const KvLayout& layout() const { return params.store->layout(); }
  std::int32_t group() const { return params.n_heads / layout().n_kv_heads; }
  std::int32_t lanes() const { return ItemLanes(item, group()); }
  std::int32_t padded_lanes() const { return PadTo(lanes(), kLanePad); }
  std::int32_t padded_dim() const { return PadTo(layout().head_dim, kLanePad); }
  const AttendKernels& kernel() const {
    switch (layout().type) {
      case KvType::kF32:
        return work.kernels.f32;
      case KvType::kBF16:
        return work.kernels.bf16;
      case KvType::kInt8:
        break;
    }
    return work.kernels.int8;
  }
  // One query whose KV heads go through a tile's rows together.
  bool TakesAllHeads() const {
    return params.q_len == 1 && kernel().one != nullptr && FitsOne(layout().head_dim, group());
  }
};

// The K and V of rows [first, first + count) of a part. REQUIRES: count <= kAttendMostRows.
void ResolveRows(const AttendParams& params,
                 const AttendPart& part,
                 std::int32_t first,
                 std::int32_t count,
                 RowPointers& out);

// All of it but what differs from one tile of the item to the next. Of `next` the kernel fetches
// ahead.
AttendTile MakeTile(const AttendRun& run, const RowPointers& rows, const RowPointers& next);

// The query and query head that a lane is.
struct LanePlace {
  std::int32_t query;
  std::int32_t head;

  // Counted over the heads of all queries.
  std::ptrdiff_t HeadOf(std::int32_t n_heads) const {
    return static_cast<std::ptrdiff_t>(query) * n_heads + head;
  }
};

LanePlace PlaceOf(const AttendItem& item, std::int32_t group, std::int32_t lane);

// What scores of a part are multiplied by, and what is added, to be powers of two.
float QueryScale(const AttendRun& run, const AttendPart& part);
float LaneBias(const AttendPart& part, std::int32_t query);

// Packs the item's queries as the kernel takes them, or [head_dim, padded_lanes].
void PackQueryTile(const AttendRun& run, const AttendPart& part);

// All rows of an item of one query. `next`: as RunAttendItem's.
void RunOneQuery(const AttendRun& run, const AttendItem* next);

// Rows of one span of an item of many queries.
void RunQueryTile(const AttendRun& run, const AttendSpan& span);

}  // namespace keyhole
