#include "engine/ops/cpu/attend_item.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace keyhole {
namespace {

constexpr float kLog2E = 1.44269504088896340736F;

// Where the K and V of up to a tile of rows are.
struct RowPointers {
  const unsigned char* keys[kAttendMostRows];
  const unsigned char* values[kAttendMostRows];
  std::int32_t count = 0;
};

// An item while it runs.
struct Run {
  const AttendWork& work;
  const AttendParams& params;
  const AttendItem& item;
  AttendScratch& scratch;
  AttendState state;
  float negligible;

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

// Negligible is what weighs less than a 2^13th of all, and less than half of an average row:
// however many there are, rows of one weight all matter.
float NegligibleBits(const AttendPlan& plan, const AttendItem& item) {
  std::int64_t n_rows = 0;
  for (std::int32_t s = item.span_begin; s < item.span_end; ++s) n_rows += plan.spans[s].count;
  return std::max(13.0F, std::log2(2 * static_cast<float>(n_rows)));
}

AttendState StateAt(float* memory, std::int32_t padded_lanes) {
  return {memory, memory + padded_lanes, memory + 2 * static_cast<std::ptrdiff_t>(padded_lanes)};
}

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

AttendTile MakeTile(const Run& run, const RowPointers& rows) {
  return {.keys = rows.keys,
          .values = rows.values,
          .next_keys = nullptr,
          .next_values = nullptr,
          .head_offset = 0,
          .n_rows = rows.count,
          .n_next = 0,
          .head_bytes = static_cast<std::int32_t>(run.layout().head_bytes()),
          .head_dim = run.layout().head_dim,
          .padded_dim = run.padded_dim(),
          .n_kv_heads = run.item.kv_end - run.item.kv_begin,
          .lanes = run.lanes(),
          .padded_lanes = run.padded_lanes(),
          .queries = run.scratch.queries,
          .bias = run.scratch.bias,
          .visible = nullptr,
          .negligible = run.negligible,
          .rows = run.scratch.rows,
          .scores = run.scratch.scores,
          .correction = run.scratch.correction};
}

// The query and query head that a lane is.
struct LanePlace {
  std::int32_t query;
  std::int32_t head;

  // Counted over the heads of all queries.
  std::ptrdiff_t HeadOf(std::int32_t n_heads) const {
    return static_cast<std::ptrdiff_t>(query) * n_heads + head;
  }
};

LanePlace PlaceOf(const AttendItem& item, std::int32_t group, std::int32_t lane) {
  const std::int32_t n_queries = item.q_end - item.q_begin;
  return {item.q_begin + lane % n_queries, item.kv_begin * group + lane / n_queries};
}

float QueryScale(const Run& run, const AttendPart& part) {
  return run.params.softmax_scale * part.scale * kLog2E;
}

float LaneBias(const AttendPart& part, std::int32_t query) {
  return part.bias == nullptr ? 0 : part.bias[query] * kLog2E;
}

// The item's queries, scaled: [padded_lanes, head_dim]. They lie where scores will.
const float* GatherQueryTile(const Run& run, const AttendPart& part) {
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

// As the kernel takes them, or [head_dim, padded_lanes].
void PackQueryTile(const Run& run, const AttendPart& part) {
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

// [n_heads, padded_dim], for the one query, or as the kernel takes them.
void PackOneQuery(const Run& run, const AttendPart& part) {
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

TilePlace After(const Run& run, TilePlace place, std::int32_t n_rows) {
  place.done += n_rows;
  if (place.done < run.work.plan.spans[place.span].count) return place;
  return {place.span + 1, 0};
}

void RunTile(const Run& run, const RowPointers& rows, const RowPointers& next) {
  const std::int32_t group = run.group();
  AttendTile tile = MakeTile(run, rows);
  tile.next_keys = next.keys;
  tile.next_values = next.values;
  tile.n_next = next.count;
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

void RunOneQuery(const Run& run, const AttendItem* next_item) {
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

// How many rows of the tile that starts at absolute row `row` each lane sees. False: all see all.
bool MaskTile(const Run& run, const AttendPart& part, std::int32_t row, std::int32_t n_rows) {
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

void RunQueryTile(const Run& run, const AttendSpan& span) {
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
    AttendTile tile = MakeTile(run, rows);
    tile.next_keys = next.keys;
    tile.next_values = next.values;
    tile.n_next = next.count;
    tile.head_offset = run.item.kv_begin * head_bytes;
    const std::int32_t row = part.range.begin + span.first + left * most;
    if (MaskTile(run, part, row, rows.count)) tile.visible = run.scratch.visible.data();
    run.kernel().many(tile, run.state);
  }
}

float* OutputOf(const AttendParams& params, const AttendItem& item, std::int32_t lane) {
  const KvLayout& layout = params.store->layout();
  const LanePlace place = PlaceOf(item, params.n_heads / layout.n_kv_heads, lane);
  return params.out + place.HeadOf(params.n_heads) * layout.head_dim;
}

void WriteOutput(const Run& run) {
  const std::int32_t dim = run.layout().head_dim;
  for (std::int32_t lane = 0; lane < run.lanes(); ++lane) {
    const float sum = run.state.sum[lane];
    const float inverse = sum == 0 ? 0 : 1 / sum;
    const float* acc = run.state.acc + static_cast<std::ptrdiff_t>(lane) * run.padded_dim();
    float* out = OutputOf(run.params, run.item, lane);
    for (std::int32_t c = 0; c < dim; ++c) out[c] = acc[c] * inverse;
  }
}

}  // namespace

void AttendScratch::Reserve(const AttendPlan& plan) {
  const std::size_t lanes = plan.max_lanes;
  const std::size_t dim = plan.max_head_dim;
  const std::size_t sizes[] = {dim * lanes,
                               kAttendMostRows * ((dim + 31) / 32 * 32),
                               std::max<std::size_t>(kAttendMostRows, dim) * lanes,
                               lanes,
                               lanes,
                               static_cast<std::size_t>(PartialFloats(lanes, dim))};
  float** const targets[] = {&queries, &rows, &scores, &correction, &bias, &state};
  std::size_t total = kLanePad;
  for (const std::size_t size : sizes) total += size;
  if (memory_.size() < total) memory_.resize(total);
  if (visible.size() < lanes) visible.resize(lanes);
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
  float* at = memory_.data() + (64 - address % 64) % 64 / sizeof(float);
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    *targets[i] = at;
    at += sizes[i];
  }
}

AttendKernelSet AttendKernelsFor(CpuLevel level) {
#if defined(__x86_64__)
  if (level >= CpuLevel::kAmx) return AttendKernelsAmx();
  if (level >= CpuLevel::kAvx512Bf16) return AttendKernelsAvx512Bf16();
  if (level >= CpuLevel::kAvx512) return AttendKernelsAvx512();
  if (level >= CpuLevel::kAvx2) return AttendKernelsAvx2();
#endif
  return AttendKernelsPortable();
}

void RunAttendItem(const AttendWork& work,
                   const AttendItem& item,
                   const AttendItem* next,
                   AttendScratch& scratch) {
  const AttendParams& params = work.sequences[item.sequence];
  Run run{work, params, item, scratch, {}, NegligibleBits(work.plan, item)};
  const std::int32_t lanes = run.padded_lanes();
  run.state = StateAt(item.partial < 0 ? scratch.state : work.partials + item.partial, lanes);
  std::fill_n(run.state.max, lanes, -std::numeric_limits<float>::infinity());
  std::fill_n(run.state.sum, lanes, 0.0F);
  std::fill_n(run.state.acc, static_cast<std::ptrdiff_t>(lanes) * run.padded_dim(), 0.0F);
  if (params.q_len == 1) {
    const bool one_query = next != nullptr && work.sequences[next->sequence].q_len == 1;
    RunOneQuery(run, one_query ? next : nullptr);
  } else {
    for (std::int32_t s = item.span_begin; s < item.span_end; ++s) {
      RunQueryTile(run, work.plan.spans[s]);
    }
    if (run.kernel().unpack_sums != nullptr) {
      run.kernel().unpack_sums(run.state.acc, scratch.queries, run.padded_dim(), lanes);
    }
  }
  if (item.partial < 0) WriteOutput(run);
}

void MergeAttendItems(const AttendParams& params,
                      std::span<const AttendItem> items,
                      std::int32_t head,
                      const float* partials) {
  const KvLayout& layout = params.store->layout();
  const AttendItem& first = items.front();
  const std::int32_t group = params.n_heads / layout.n_kv_heads;
  const std::int32_t padded_lanes = PadTo(ItemLanes(first, group), kLanePad);
  const std::int32_t padded_dim = PadTo(layout.head_dim, kLanePad);
  const std::int32_t lanes_of_head = (first.q_end - first.q_begin) * group;
  for (std::int32_t i = 0; i < lanes_of_head; ++i) {
    const std::int32_t lane = head * lanes_of_head + i;
    float top = -std::numeric_limits<float>::infinity();
    for (const AttendItem& item : items) top = std::max(top, partials[item.partial + lane]);
    float* out = OutputOf(params, first, lane);
    std::fill_n(out, layout.head_dim, 0.0F);
    if (std::isinf(top)) continue;  // sees no row
    float sum = 0;
    for (const AttendItem& item : items) {
      const float* part = partials + item.partial;
      const float weight = std::exp2(part[lane] - top);
      const float* acc = part + 2 * static_cast<std::ptrdiff_t>(padded_lanes) +
                         static_cast<std::ptrdiff_t>(lane) * padded_dim;
      sum += weight * part[padded_lanes + lane];
      for (std::int32_t c = 0; c < layout.head_dim; ++c) out[c] += weight * acc[c];
    }
    const float inverse = 1 / sum;
    for (std::int32_t c = 0; c < layout.head_dim; ++c) out[c] *= inverse;
  }
}

}  // namespace keyhole
