#include "engine/ops/attend_plan.h"

#include <algorithm>
#include <bit>

namespace keyhole {
namespace {

constexpr std::int32_t kMaxSplits = 64;  // of one part: bounds the cost of the merge
constexpr std::int32_t kDecodeSplitRows = 128;
constexpr std::int32_t kShortChunk = 32;  // queries; longer chunks have enough tiles to share out
constexpr std::int32_t kShortChunkSplitRows = 2048;
constexpr std::int32_t kDeepRows = 4;  // for each query of a chunk

std::int32_t SplitRows(std::int32_t q_len, std::int32_t n_rows) {
  if (q_len > kShortChunk) return n_rows;
  const std::int32_t least = q_len == 1 ? kDecodeSplitRows : kShortChunkSplitRows;
  return std::max(least, PadTo((n_rows + kMaxSplits - 1) / kMaxSplits, kDecodeSplitRows));
}

std::int32_t QueriesPerTile(std::int32_t tile_lanes, std::int32_t group) {
  return static_cast<std::int32_t>(
      std::bit_floor(static_cast<std::uint32_t>(std::max(1, tile_lanes / group))));
}

// Rows of `part` that any query before q_end sees.
std::int32_t VisibleRows(const AttendPart& part, std::int32_t q_end) {
  if (!part.rows.empty()) return static_cast<std::int32_t>(part.rows.size());
  const std::int32_t end =
      part.causal_from < 0 ? part.range.end : std::min(part.range.end, part.causal_from + q_end);
  return std::max(0, end - part.range.begin);
}

bool IsDeep(const AttendParams& params) {
  std::int64_t n_rows = 0;
  for (const AttendPart& part : params.parts) n_rows += VisibleRows(part, params.q_len);
  return n_rows >= std::int64_t{kDeepRows} * params.q_len;
}

class Planner {
 public:
  Planner(std::span<const AttendParams> sequences, const TileLanes& tile_lanes, AttendPlan& plan)
      : sequences_(sequences), tile_lanes_(tile_lanes), plan_(plan) {}

  void Plan() {
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const AttendParams& params = sequences_[i];
      const KvLayout& layout = params.store->layout();
      const std::int32_t group = params.n_heads / layout.n_kv_heads;
      AttendItem block{.sequence = static_cast<std::int32_t>(i)};
      if (params.q_len == 1) {  // a row of all heads is one piece of memory: read it once
        block.q_end = 1;
        block.kv_end = layout.n_kv_heads;
        AddBlock(block);
        continue;
      }
      const bool deep = tile_lanes_.deep > 0 && IsDeep(params);
      const std::int32_t step = QueriesPerTile(deep ? tile_lanes_.deep : tile_lanes_.usual, group);
      for (std::int32_t head = 0; head < layout.n_kv_heads; ++head) {
        for (std::int32_t q = 0; q < params.q_len; q += step) {
          block.q_begin = q;
          block.q_end = std::min(q + step, params.q_len);
          block.kv_begin = head;
          block.kv_end = head + 1;
          AddBlock(block);
        }
      }
    }
  }

 private:
  void AddBlock(const AttendItem& block) {
    const AttendParams& params = sequences_[block.sequence];
    const auto first_span = static_cast<std::int32_t>(plan_.spans.size());
    for (std::size_t p = 0; p < params.parts.size(); ++p) {
      const std::int32_t n_rows = VisibleRows(params.parts[p], block.q_end);
      if (n_rows == 0) continue;
      const std::int32_t step = SplitRows(params.q_len, n_rows);
      for (std::int32_t row = 0; row < n_rows; row += step) {
        plan_.spans.push_back({static_cast<std::int32_t>(p), row, std::min(step, n_rows - row)});
      }
    }
    const auto end_span = static_cast<std::int32_t>(plan_.spans.size());
    AddItems(block, first_span, end_span);
  }

  void AddItems(AttendItem item, std::int32_t first_span, std::int32_t end_span) {
    const KvLayout& layout = sequences_[item.sequence].store->layout();
    const std::int32_t group = sequences_[item.sequence].n_heads / layout.n_kv_heads;
    const std::int32_t lanes = PadTo(ItemLanes(item, group), kLanePad);
    const std::int32_t dim = PadTo(layout.head_dim, kLanePad);
    plan_.max_lanes = std::max(plan_.max_lanes, lanes);
    plan_.max_head_dim = std::max(plan_.max_head_dim, dim);
    const bool split = sequences_[item.sequence].q_len <= kShortChunk && end_span - first_span > 1;
    if (!split) {
      item.span_begin = first_span;
      item.span_end = end_span;
      plan_.items.push_back(item);
      return;
    }
    const auto first_item = static_cast<std::int32_t>(plan_.items.size());
    for (std::int32_t s = first_span; s < end_span; ++s) {
      item.span_begin = s;
      item.span_end = s + 1;
      item.partial = plan_.partial_floats;
      plan_.partial_floats += PartialFloats(lanes, dim);
      plan_.items.push_back(item);
    }
    plan_.merges.push_back({first_item, static_cast<std::int32_t>(plan_.items.size())});
  }

  std::span<const AttendParams> sequences_;
  TileLanes tile_lanes_;
  AttendPlan& plan_;
};

}  // namespace

std::int32_t ItemLanes(const AttendItem& item, std::int32_t group) {
  return (item.kv_end - item.kv_begin) * (item.q_end - item.q_begin) * group;
}

void PlanAttend(std::span<const AttendParams> sequences,
                const TileLanes& tile_lanes,
                AttendPlan& plan) {
  plan.spans.clear();
  plan.items.clear();
  plan.merges.clear();
  plan.partial_floats = 0;
  plan.max_lanes = 0;
  plan.max_head_dim = 0;
  Planner(sequences, tile_lanes, plan).Plan();
}

}  // namespace keyhole
