// How the work of AttendRows is cut. Pure arithmetic on a sequence's own sizes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/attend_rows.h"

namespace keyhole {

// Rows [first, first + count) of a part, counted from the part's start.
struct AttendSpan {
  std::int32_t part = 0;
  std::int32_t first = 0;
  std::int32_t count = 0;
};

// One task: queries [q_begin, q_end) and KV heads [kv_begin, kv_end) of a sequence over some spans.
struct AttendItem {
  std::int32_t sequence = 0;
  std::int32_t q_begin = 0;
  std::int32_t q_end = 0;
  std::int32_t kv_begin = 0;
  std::int32_t kv_end = 0;
  std::int32_t span_begin = 0;  // in AttendPlan::spans
  std::int32_t span_end = 0;
  std::int64_t partial = -1;  // offset of its partial result in floats; -1: writes the output
};

// Consecutive items whose partial results make one block of the output.
struct AttendMerge {
  std::int32_t item_begin = 0;
  std::int32_t item_end = 0;
};

struct AttendPlan {
  std::vector<AttendSpan> spans;
  std::vector<AttendItem> items;
  std::vector<AttendMerge> merges;
  std::int64_t partial_floats = 0;
  std::int32_t max_lanes = 0;     // padded
  std::int32_t max_head_dim = 0;  // padded
};

constexpr std::int32_t PadTo(std::int32_t n, std::int32_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Lanes and head dimensions are padded to the widest vector, whatever the machine.
constexpr std::int32_t kLanePad = 16;

// A partial result: per lane the maximum, the sum, and the sums of values.
constexpr std::int64_t PartialFloats(std::int32_t padded_lanes, std::int32_t padded_dim) {
  return static_cast<std::int64_t>(padded_lanes) * (padded_dim + 2);
}

// A lane is one query head of one query; an item's lanes are [kv_end - kv_begin][group][queries]:
// neighbouring queries of a head attend to much the same rows.
std::int32_t ItemLanes(const AttendItem& item, std::int32_t group);

// How many lanes an item of several queries has, at most, unless it has one query.
struct TileLanes {
  std::int32_t usual = 0;
  std::int32_t deep = 0;  // where a chunk's rows are several times its queries; 0: as usual
};

// Refills `plan`, keeping its memory. What is cut depends on the sequence alone: on no other one,
// nor on the number of threads.
void PlanAttend(std::span<const AttendParams> sequences,
                const TileLanes& tile_lanes,
                AttendPlan& plan);

}  // namespace keyhole
