// One query, all of its heads: decode.
#include <algorithm>

#include "engine/ops/cpu/attend_run.h"

namespace keyhole {
namespace {

// [n_heads, padded_dim], for the one query, or as the kernel takes them.
void PackOneQuery(const AttendRun& run, const AttendPart& part) {
  if (run.TakesAllHeads()) return PackQueryTile(run, part);
  const std::int32_t dim = run.layout().head_dim;
  const float scale = QueryScale(run, part);
  for (std::int32_t h = 0; h < run.params.n_heads; ++h) {
    const float* in = part.queries + static_cast<std::ptrdiff_t>(h) * dim;
    float* out = run.scratch.queries + static_cast<std::ptrdiff_t>(h) * run.padded_dim();
    for (std::int32_t c = 0; c < dim; ++c) out[c] = in[c] * scale;
    std::fill(out + dim, out + run.padded_dim(), 0.0F);
    run.scratch.bias[h] = LaneBias(part, 0);
  }
}

// Where an item's rows stand, tile by tile, over all of its spans.
struct TilePlace {
  std::int32_t span = 0;
  std::int32_t done = 0;  // of the span's rows
};

void ResolveTile(const AttendWork& work,
                 const AttendItem& item,
                 const TilePlace& place,
                 RowPointers& out) {
  out.count = 0;
  if (place.span >= item.span_end) return;
  const AttendSpan& span = work.plan.spans[place.span];
  const AttendParams& params = work.sequences[item.sequence];
  const std::int32_t count = std::min(kAttendTileRows, span.count - place.done);
  ResolveRows(params, params.parts[span.part], span.first + place.done, count, out);
}

TilePlace After(const AttendRun& run, TilePlace place, std::int32_t n_rows) {
  place.done += n_rows;
  if (place.done < run.work.plan.spans[place.span].count) return place;
  return {place.span + 1, 0};
}

void RunTile(const AttendRun& run, const RowPointers& rows, const RowPointers& next) {
  const std::int32_t group = run.group();
  AttendTile tile = MakeTile(run, rows, next);
  if (run.TakesAllHeads()) return run.kernel().one(tile, run.state);
  tile.lanes = group;
  for (std::int32_t kv = 0; kv < run.layout().n_kv_heads; ++kv) {
    const std::ptrdiff_t lane = static_cast<std::ptrdiff_t>(kv) * group;
    tile.head_offset = kv * run.layout().head_bytes();
    tile.queries = run.scratch.queries + lane * run.padded_dim();
    tile.bias = run.scratch.bias + lane;
    run.kernel().few(tile,
                     {.max = run.state.max + lane,
                      .sum = run.state.sum + lane,
                      .acc = run.state.acc + lane * run.padded_dim()});
  }
}

}  // namespace

void RunOneQuery(const AttendRun& run, const AttendItem* next_item) {
  RowPointers pointers[2];
  TilePlace place = {run.item.span_begin, 0};
  ResolveTile(run.work, run.item, place, pointers[0]);
  for (std::int32_t turn = 0; place.span < run.item.span_end; turn ^= 1) {
    const RowPointers& rows = pointers[turn];
    RowPointers& next = pointers[turn ^ 1];
    const AttendSpan& span = run.work.plan.spans[place.span];
    if (place.done == 0) PackOneQuery(run, run.params.parts[span.part]);
    place = After(run, place, rows.count);
    ResolveTile(run.work, run.item, place, next);
    if (next.count == 0 && next_item != nullptr) {
      ResolveTile(run.work, *next_item, {next_item->span_begin, 0}, next);
    }
    RunTile(run, rows, next);
  }
}

}  // namespace keyhole
