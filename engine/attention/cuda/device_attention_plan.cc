// What a step launches: the arguments of its kernels.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "engine/attention/cuda/device_attention.h"
#include "engine/check.h"
#include "engine/device/device_error.h"
#include "engine/ops/probe_span.h"

namespace keyhole::cuda {

using Block = Workspace::Block;

float DeviceAttention::SoftmaxScale() const {
  return 1 / std::sqrt(static_cast<float>(head_dim()));
}

void DeviceAttention::PlanRotations(const ModelInput& input, const DeviceProjections& projections) {
  const std::size_t n = input.positions.size();
  const bool far = rectified() && std::any_of(slices_.begin(), slices_.end(), [](const auto& rows) {
                     return !rows.initial.empty() || rows.n_chosen > 0;
                   });
  std::vector<std::int32_t> indices = input.positions;
  far_bias_ = nullptr;
  if (far) {
    SetQueryDistances(shape_.settings.distances, input, distances_);
    indices.insert(indices.end(), distances_.selected.begin(), distances_.selected.end());
    indices.insert(indices.end(), distances_.initial.begin(), distances_.initial.end());
    far_bias_ = memory_.bias.Upload<float>(distances_.far_bias);
  }
  const std::int32_t* index = memory_.indices.Upload<std::int32_t>(indices);
  // Rows of all steps so far, so that most steps find their place again.
  const std::size_t row = static_cast<std::size_t>(shape_.n_heads) * head_dim();
  const std::size_t room = std::bit_ceil(n) * row;
  Block block = memory_.rotated.Reserve(Block::Bytes(3 * room, sizeof(float)) +
                                        Block::Bytes(room, sizeof(float)));
  auto* queries = block.Cut<float>(3 * room);
  arguments_.rotated_queries = {.x = projections.q,
                                .cos = parts_.rope.cos,
                                .sin = parts_.rope.sin,
                                .index = index,
                                .out = queries,
                                .n_rows = static_cast<std::int64_t>(n),
                                .n_heads = shape_.n_heads,
                                .half = head_dim() / 2,
                                .n_turns = far ? 3 : 1};
  rotated_ = {.near = queries,
              .selected = far ? queries + n * row : queries,
              .initial = far ? queries + 2 * n * row : queries};
  if (rectified()) return;
  rotated_.keys = block.Cut<float>(room);
  arguments_.rotated_keys = arguments_.rotated_queries;
  arguments_.rotated_keys.x = projections.k;
  arguments_.rotated_keys.out = rotated_.keys;
  arguments_.rotated_keys.n_heads = layout_.n_kv_heads;
}

void DeviceAttention::PlanAppends(const DeviceProjections& projections) {
  const float* keys = rectified() ? projections.k : rotated_.keys;
  const auto row = static_cast<std::int64_t>(layout_.kv_size());
  const std::int64_t all_row = std::int64_t{shape_.all_kv_heads} * head_dim();
  std::vector<AppendKvParams> rows;
  std::vector<AppendDigestsParams> codes;
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const SequenceSlice& slice = *slices_[i].slice;
    rows.push_back({.store = {parts_.kv->arena().base(), layout_},
                    .pages = tables_[i].slots,
                    .first = slice.kv_len,
                    .n_tokens = slice.q_len,
                    .keys = keys + slice.q_begin * row,
                    .values = projections.v + slice.q_begin * row});
    if (parts_.maps == nullptr) continue;
    codes.push_back({.store = {parts_.digests, parts_.maps->layout(layout_.page_size)},
                     .pages = tables_[i].pages,
                     .first = slice.kv_len,
                     .n_tokens = slice.q_len,
                     .keys = projections.all_k + slice.q_begin * all_row});
  }
  arguments_.append = PlanAppendKv(rows, memory_.append);
  if (parts_.maps == nullptr) return;
  // Any map: each layer's own is put in its place.
  arguments_.digests = PlanAppendDigests(
      {.map = projections.all_k, .in_dim = parts_.maps->in_dim()}, codes, memory_.digests);
  arguments_.digests.map = nullptr;
}

void DeviceAttention::PlaceRows() {
  std::vector<std::int32_t> known;  // without scores
  std::size_t n_chosen = 0;
  for (const SliceRows& rows : slices_) {
    n_chosen += rows.n_chosen;
    if (rows.choice != Choice::kAll) continue;
    known.resize(known.size() + rows.n_chosen);
    std::iota(known.end() - rows.n_chosen, known.end(), rows.middle.begin);
  }
  const std::int32_t* given = memory_.rows.Upload<std::int32_t>(known);
  const std::size_t room = std::bit_ceil(std::max<std::size_t>(n_chosen, 1));
  Block block = memory_.rows.Reserve(2 * Block::Bytes(room, sizeof(std::int32_t)));
  auto* chosen = block.Cut<std::int32_t>(room);
  auto* places = block.Cut<std::int32_t>(room);
  if (split()) {
    arguments_.hash = {.rows = chosen,
                       .hash = hash_.data<std::uint64_t>(),
                       .n = static_cast<std::int32_t>(n_chosen - known.size())};
  }
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const std::int32_t n = slices_[i].n_chosen;
    Tables& tables = tables_[i];
    tables.places = places;
    places += n;
    if (slices_[i].choice == Choice::kAll) {
      tables.rows = given;
      given += n;
    } else {
      tables.rows = tables.chosen = chosen;
      chosen += n;
    }
  }
}

DeviceAttention::Probes DeviceAttention::ProbesOf(const SliceRows& rows) const {
  const DeviceSelection& selection = shape_.selection;
  const std::int32_t most = selection.score == ScoreRule::kVote ? selection.probes : 0;
  const std::int32_t q_len = rows.slice->q_len;
  const std::int32_t span = ProbeSpan(q_len, most, selection.single_queries);
  return {span, ProbeCount(q_len, span)};
}

std::int32_t DeviceAttention::QueriesPerProbe() const {
  return parts_.maps->form() == DigestForm::kConcatenated ? 1 : shape_.all_heads;
}

struct DeviceAttention::Selecting {
  std::vector<CompressQueriesParams> compress;
  std::vector<ScoreRowsParams> score;
  std::vector<MaxPoolSequence> pool;
  std::vector<TopKParams> top_k;
};

void DeviceAttention::AddSelecting(std::size_t i,
                                   const DeviceProjections& projections,
                                   Block& scratch,
                                   Selecting& selecting) const {
  const SliceRows& rows = slices_[i];
  const Probes probes = ProbesOf(rows);
  const std::size_t n = static_cast<std::size_t>(probes.count) * QueriesPerProbe();
  const std::int32_t n_middle = rows.middle.size();
  auto* codes = scratch.Cut<std::int8_t>(n * parts_.maps->rank());
  auto* scales = scratch.Cut<float>(n);
  auto* scores = scratch.Cut<float>(n_middle);
  auto* pooled = scratch.Cut<float>(n_middle);
  const std::int64_t q_size = std::int64_t{shape_.all_heads} * head_dim();
  selecting.compress.push_back({.queries = projections.all_q + rows.slice->q_begin * q_size,
                                .q_len = rows.slice->q_len,
                                .span = probes.span,
                                .codes = codes,
                                .scales = scales});
  selecting.score.push_back({.store = {parts_.digests, parts_.maps->layout(layout_.page_size)},
                             .pages = tables_[i].pages,
                             .rows = rows.middle,
                             .n_probes = probes.count,
                             .queries = codes,
                             .scales = scales,
                             .out = scores});
  selecting.pool.push_back({.in = scores, .out = pooled, .n = n_middle});
  selecting.top_k.push_back({.scores = pooled,
                             .n = n_middle,
                             .k = rows.n_chosen,
                             .first = rows.middle.begin,
                             .rows = tables_[i].chosen});
}

void DeviceAttention::PlanSelection(const DeviceProjections& projections) {
  std::size_t bytes = 0;
  for (const SliceRows& rows : slices_) {
    if (rows.choice != Choice::kScored) continue;
    const auto n = static_cast<std::size_t>(ProbesOf(rows).count) * QueriesPerProbe();
    bytes += Block::Bytes(n * parts_.maps->rank(), 1) + Block::Bytes(n, sizeof(float)) +
             2 * Block::Bytes(rows.middle.size(), sizeof(float));
  }
  if (bytes == 0) return;
  Block scratch = memory_.scores.Reserve(bytes);
  Selecting selecting;
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    if (slices_[i].choice == Choice::kScored) AddSelecting(i, projections, scratch, selecting);
  }
  const std::int64_t distance = std::int64_t{shape_.selection.query_distance} * (head_dim() / 2);
  const QueryMap map = {.map = projections.all_q,  // any: each layer's own is put in its place
                        .n_groups = parts_.maps->n_groups(),
                        .rank = parts_.maps->rank(),
                        .in_dim = parts_.maps->in_dim(),
                        .n_queries = QueriesPerProbe(),
                        .n_heads = shape_.all_heads,
                        .head_dim = head_dim(),
                        .distance = {parts_.rope.cos + distance,
                                     parts_.rope.sin + distance,
                                     parts_.rope.attention_factor},
                        .softmax_scale = SoftmaxScale()};
  const ScoreSettings settings = {.rule = shape_.selection.score, .n_heads = QueriesPerProbe()};
  arguments_.compress = PlanCompressQueries(map, selecting.compress, memory_.compress);
  arguments_.compress.map = nullptr;
  arguments_.score = PlanScoreRows(settings, selecting.score, memory_.score);
  arguments_.pool = PlanMaxPool(shape_.selection.proximity, selecting.pool, memory_.pool);
  arguments_.top_k = PlanTopK(selecting.top_k, memory_.top_k);
}

void DeviceAttention::PlanWindows() {
  if (!rectified()) return;
  std::vector<RotateKeysParams> windows;
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const SequenceSlice& slice = *slices_[i].slice;
    KeyWindow& window = *ValueOrThrow(windows_->Open(slice.id));
    Tables& tables = tables_[i];
    tables.window = window.Ring(0);
    tables.window.layer_bytes =
        static_cast<std::size_t>(tables.window.capacity) * tables.window.row_bytes;
    for (std::int32_t layer = 0; layer < layout_.n_layers; ++layer) {
      const RowRange fresh = window.Advance(layer, slices_[i].near, slice.kv_len);
      KEYHOLE_CHECK(layer == 0 || fresh == tables.fresh, "layers of a window hold the same rows");
      tables.fresh = fresh;
    }
    windows.push_back({.store = {parts_.kv->arena().base(), layout_},
                       .pages = tables.slots,
                       .rows = tables.fresh,
                       .ring = tables.window});
  }
  arguments_.window = PlanRotateKeys(parts_.rope, windows, memory_.window);
}

void DeviceAttention::PlanReading(bool selects, const DeviceProjections& projections) {
  const int variant = selects ? 0 : 1;
  const DeviceArena& arena = parts_.kv->arena();
  const KvPages pages = {arena.base(), layout_};
  const std::int64_t q_size = std::int64_t{shape_.n_heads} * head_dim();
  const float far_scale = rectified() ? parts_.rope.attention_factor : 1;
  const bool rounds = projections.rounded != nullptr;
  std::vector<ResolveRowsParams> fetch;
  std::vector<std::array<AttendPartParams, 3>> parts(slices_.size());
  std::vector<AttendParams> attend;
  std::int32_t n_rows = 0;
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const SliceRows& rows = slices_[i];
    const SequenceSlice& slice = *rows.slice;
    const std::int64_t at = slice.q_begin * q_size;
    std::size_t n_parts = 0;
    if (!rows.initial.empty()) {
      parts[i][n_parts++] = {
          .queries = rotated_.initial + at, .range = rows.initial, .scale = far_scale};
    }
    if (rows.n_chosen > 0 && (selects || rows.choice == Choice::kAll)) {
      fetch.push_back({tables_[i].pages, tables_[i].rows, tables_[i].places, rows.n_chosen});
      n_rows += rows.n_chosen;
      parts[i][n_parts++] = {.queries = rotated_.selected + at,
                             .rows = tables_[i].places,
                             .n_rows = rows.n_chosen,
                             .bias = far_bias_ == nullptr ? nullptr : far_bias_ + slice.q_begin,
                             .scale = far_scale,
                             .keys = KeysByNumber(pages),
                             .values = ValuesByNumber(pages)};
    }
    parts[i][n_parts++] = {.queries = rotated_.near + at,
                           .range = rows.near,
                           .causal_from = slice.kv_len,
                           .keys = tables_[i].window};
    attend.push_back({.store = pages,
                      .pages = tables_[i].slots,
                      .q_len = slice.q_len,
                      .parts = {parts[i].data(), n_parts},
                      .out = rounds ? nullptr : projections.out + at,
                      .rounded = rounds ? projections.rounded + at : nullptr});
  }
  StepArguments::Reading& reading = selects ? arguments_.selecting : arguments_.plain;
  if (n_rows > 0) {
    const std::int32_t n_at_once =
        static_cast<std::int32_t>(std::bit_ceil(static_cast<std::uint32_t>(n_rows)));
    FetchPath path;
    if (parts_.kv->plan().spills) {
      const std::size_t bytes = FetchScratchBytes(n_at_once);
      path = {.from = parts_.host->LayerRows(0, 0),
              .to = arena.base(),
              .row_bytes = layout_.row_bytes(),
              .scratch = memory_.moves[variant].Reserve(bytes).Cut<std::byte>(bytes)};
    }
    reading.fetch = PlanFetchRows(
        hot_.tables(), path, fetch, n_at_once, memory_.resolve[variant], memory_.moves[variant]);
  }
  reading.attend = PlanAttendRows({.n_heads = shape_.n_heads, .softmax_scale = SoftmaxScale()},
                                  attend,
                                  memory_.attend[variant]);
}

}  // namespace keyhole::cuda
