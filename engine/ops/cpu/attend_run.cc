#include "engine/ops/cpu/attend_run.h"

namespace keyhole {
namespace {

constexpr float kLog2E = 1.44269504088896340736F;

// The item's queries, scaled: [padded_lanes, head_dim]. They lie where scores will.
const float* GatherQueryTile(const AttendRun& run, const AttendPart& part) {
  const std::int32_t dim = run.layout().head_dim;
  const float scale = QueryScale(run, part);
  float* out = run.scratch.scores;
  for (std::int32_t lane = 0; lane < run.lanes(); ++lane, out += dim) {
    const LanePlace place = PlaceOf(run.item, run.group(), lane);
    const float* in = part.queries + place.HeadOf(run.params.n_heads) * dim;
    for (std::int32_t c = 0; c < dim; ++c) out[c] = in[c] * scale;
    run.scratch.bias[lane] = LaneBias(part, place.query);
  }
  for (std::int32_t lane = run.lanes(); lane < run.padded_lanes(); ++lane, out += dim) {
    std::fill(out, out + dim, 0.0F);
    run.scratch.bias[lane] = 0;
  }
  return run.scratch.scores;
}

}  // namespace

void ResolveRows(const AttendParams& params,
                 const AttendPart& part,
                 std::int32_t first,
                 std::int32_t count,
                 RowPointers& out) {
  const KvLayout& layout = params.store->layout();
  const std::size_t value_offset = layout.key_bytes();
  const std::size_t row_bytes = layout.row_bytes();
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t row =
        part.rows.empty() ? part.range.begin + first + i : part.rows[first + i];
    const std::int32_t page = row / layout.page_size;
    const std::byte* at = params.store->LayerRows(params.pages[page], params.layer) +
                          static_cast<std::size_t>(row - page * layout.page_size) * row_bytes;
    const std::byte* key = part.keys.base == nullptr ? at : part.keys.Row(row);
    out.keys[i] = reinterpret_cast<const unsigned char*>(key);
    out.values[i] = reinterpret_cast<const unsigned char*>(at + value_offset);
  }
  out.count = count;
}

AttendTile MakeTile(const AttendRun& run, const RowPointers& rows, const RowPointers& next) {
  return {.keys = rows.keys,
          .values = rows.values,
          .next_keys = next.keys,
          .next_values = next.values,
          .head_offset = 0,
          .n_rows = rows.count,
          .n_next = next.count,
          .head_bytes = static_cast<std::int32_t>(run.layout().head_bytes()),
          .head_dim = run.layout().head_dim,
          .padded_dim = run.padded_dim(),
          .n_kv_heads = run.item.kv_end - run.item.kv_begin,
          .lanes = run.lanes(),
          .padded_lanes = run.padded_lanes(),
          .queries = run.scratch.queries,
          .bias = run.scratch.bias,
          .visible = nullptr,
          .rows = run.scratch.rows,
          .scores = run.scratch.scores,
          .correction = run.scratch.correction};
}

LanePlace PlaceOf(const AttendItem& item, std::int32_t group, std::int32_t lane) {
  const std::int32_t n_queries = item.q_end - item.q_begin;
  return {item.q_begin + lane % n_queries, item.kv_begin * group + lane / n_queries};
}

float QueryScale(const AttendRun& run, const AttendPart& part) {
  return run.params.softmax_scale * part.scale * kLog2E;
}

float LaneBias(const AttendPart& part, std::int32_t query) {
  return part.bias == nullptr ? 0 : part.bias[query] * kLog2E;
}

void PackQueryTile(const AttendRun& run, const AttendPart& part) {
  const std::int32_t dim = run.layout().head_dim;
  const std::int32_t lanes = run.padded_lanes();
  const float* rows = GatherQueryTile(run, part);
  if (run.kernel().pack_queries != nullptr) {
    return run.kernel().pack_queries(rows, run.scratch.queries, dim, lanes);
  }
  for (std::int32_t lane = 0; lane < lanes; ++lane, rows += dim) {
    float* out = run.scratch.queries + lane;
    for (std::int32_t c = 0; c < dim; ++c) out[static_cast<std::ptrdiff_t>(c) * lanes] = rows[c];
  }
}

}  // namespace keyhole
