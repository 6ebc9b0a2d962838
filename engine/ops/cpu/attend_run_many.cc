// Many queries of some heads: a chunk of a prompt.
#include <algorithm>

#include "engine/ops/cpu/attend_run.h"

namespace keyhole {
namespace {

// How many rows of the tile that starts at absolute row `row` each lane sees. False: all see all.
bool MaskTile(const AttendRun& run, const AttendPart& part, std::int32_t row, std::int32_t n_rows) {
  if (part.causal_from < 0) return false;
  const std::int32_t first_limit = part.causal_from + run.item.q_begin + 1;
  if (row + n_rows <= first_limit) return false;
  const std::int32_t n_queries = run.item.q_end - run.item.q_begin;
  for (std::int32_t lane = 0; lane < run.padded_lanes(); ++lane) {
    const std::int32_t limit = first_limit + lane % n_queries;
    run.scratch.visible[lane] = std::clamp(limit - row, 0, n_rows);
  }
  return true;
}

}  // namespace

void RunQueryTile(const AttendRun& run, const AttendSpan& span) {
  const AttendPart& part = run.params.parts[span.part];
  const std::size_t head_bytes = run.layout().head_bytes();
  PackQueryTile(run, part);
  const std::int32_t most = run.kernel().many_rows;
  RowPointers pointers[2];
  const auto resolve = [&](std::int32_t tile, RowPointers& out) {
    const std::int32_t first = tile * most;
    ResolveRows(run.params, part, span.first + first, std::min(most, span.count - first), out);
  };
  // The newest first: they weigh most, so that kernels see what the others do not add.
  std::int32_t left = (span.count + most - 1) / most;
  resolve(left - 1, pointers[0]);
  for (std::int32_t turn = 0; left-- > 0; turn ^= 1) {
    const RowPointers& rows = pointers[turn];
    RowPointers& next = pointers[turn ^ 1];
    next.count = 0;
    if (left > 0) resolve(left - 1, next);
    AttendTile tile = MakeTile(run, rows, next);
    tile.head_offset = run.item.kv_begin * head_bytes;
    const std::int32_t row = part.range.begin + span.first + left * most;
    if (MaskTile(run, part, row, rows.count)) tile.visible = run.scratch.visible.data();
    run.kernel().many(tile, run.state);
  }
}

}  // namespace keyhole
