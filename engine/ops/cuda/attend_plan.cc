#include "engine/ops/cuda/attend_plan.h"

#include <algorithm>

#include "engine/ops/cuda/kernels/attend_split.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda AttendRows";
constexpr std::int32_t kMaxHeadDim = 128;

std::int32_t RowsOf(const AttendPartParams& part) {
  return part.rows != nullptr ? part.n_rows : std::max(0, part.range.size());
}

void CheckPart(const AttendParams& params, const AttendPartParams& part) {
  CheckOp(part.queries != nullptr, kOp, "a part has no queries");
  const bool reads_pages = part.keys.base == nullptr || part.values.base == nullptr;
  CheckOp(part.rows == nullptr || part.causal_from < 0, kOp, "selected rows have no causal limit");
  CheckOp(part.keys.base == nullptr || part.keys.capacity > 0, kOp, "a ring has no room");
  CheckOp(part.values.base == nullptr || part.values.capacity > 0, kOp, "a ring has no room");
  if (RowsOf(part) == 0 || !reads_pages) return;
  CheckOp(params.store.base != nullptr, kOp, "null store");
  const std::int64_t room = params.pages.n_rows(params.store.layout.page_size);
  CheckOp(part.rows != nullptr || (part.range.begin >= 0 && part.range.end <= room),
          kOp,
          "a range leaves the page table");
}

void Check(const AttendSettings& settings, const AttendParams& params, const KvLayout& layout) {
  const KvLayout& own = params.store.layout;
  CheckOp(own.n_kv_heads == layout.n_kv_heads && own.head_dim == layout.head_dim &&
              own.type == layout.type,
          kOp,
          "layouts differ");
  CheckOp(own.head_dim > 0 && own.head_dim % 8 == 0 && own.head_dim <= kMaxHeadDim,
          kOp,
          "head_dim is not a multiple of 8 up to 128");
  CheckOp(settings.n_heads > 0 && settings.n_heads % own.n_kv_heads == 0,
          kOp,
          "n_heads is not a multiple of n_kv_heads");
  CheckOp(params.parts.size() <= kMaxAttendParts, kOp, "too many parts");
  CheckOp(
      params.q_len >= 0 && (params.out != nullptr || params.rounded != nullptr), kOp, "no output");
  for (const AttendPartParams& part : params.parts) CheckPart(params, part);
}

AttendSequence SequenceOf(const AttendParams& params) {
  AttendSequence sequence = {.parts = {},
                             .pages = params.pages.ids,
                             .out = params.out,
                             .rounded = params.rounded,
                             .q_len = params.q_len};
  std::int32_t offset = 0;
  for (const AttendPartParams& part : params.parts) {
    sequence.parts[sequence.n_parts++] = {
        .queries = part.queries,
        .keys = part.keys.base == nullptr ? KeysIn(params.store) : RowsIn(part.keys),
        .values = part.values.base == nullptr ? ValuesIn(params.store) : RowsIn(part.values),
        .rows = part.rows,
        .begin = part.range.begin,
        .count = RowsOf(part),
        .causal_from = part.causal_from,
        .bias = part.bias,
        .scale = part.scale,
        .offset = offset};
    offset += RowsOf(part);
  }
  return sequence;
}

AttendSplits SplitRows(const AttendSettings& settings,
                       const AttendParams& params,
                       std::int32_t n_rows) {
  const std::int32_t n_kv_heads = params.store.layout.n_kv_heads;
  const std::int32_t group = settings.n_heads / n_kv_heads;
  if (AttendsByTiles(params)) {
    const std::int32_t tiles = (params.q_len * group + kManyTileLanes - 1) / kManyTileLanes;
    return SplitsOf(n_rows, n_kv_heads * tiles, kManySplitUnit);
  }
  const std::int32_t heads = FewHeads(group);
  const std::int32_t blocks = params.q_len * n_kv_heads * ((group + heads - 1) / heads);
  return SplitsOf(n_rows, std::max(1, blocks), kFewSplitUnit, FewWanted(heads));
}

void Add(const AttendSettings& settings,
         const AttendParams& params,
         AttendPlan& plan,
         AttendLaunch& launch) {
  AttendSequence sequence = SequenceOf(params);
  std::int32_t n_rows = 0;
  for (const AttendPartParams& part : params.parts) n_rows += RowsOf(part);
  const AttendSplits splits = SplitRows(settings, params, n_rows);
  sequence.split_rows = splits.split_rows;
  sequence.n_splits = splits.n_splits;
  if (splits.n_splits > 1) {
    sequence.partial = plan.n_partials;
    plan.n_partials += std::int64_t{splits.n_splits} * params.q_len * settings.n_heads;
  }
  ++launch.n_sequences;
  launch.max_q_len = std::max(launch.max_q_len, params.q_len);
  launch.max_splits = std::max(launch.max_splits, splits.n_splits);
  plan.sequences.push_back(sequence);
}

}  // namespace

bool AttendsByTiles(const AttendParams& params) {
  const KvLayout& layout = params.store.layout;
  return params.q_len > 1 && layout.type != KvType::kF32 &&
         (layout.head_dim == 64 || layout.head_dim == 128);
}

void PlanAttend(const AttendSettings& settings,
                std::span<const AttendParams> sequences,
                AttendPlan& plan) {
  plan.sequences.clear();
  plan.few = {};
  plan.many = {};
  plan.n_partials = 0;
  for (const AttendParams& params : sequences) {
    Check(settings, params, sequences.front().store.layout);
    if (!AttendsByTiles(params)) Add(settings, params, plan, plan.few);
  }
  plan.many.first = plan.few.n_sequences;
  for (const AttendParams& params : sequences) {
    if (AttendsByTiles(params)) Add(settings, params, plan, plan.many);
  }
}

}  // namespace keyhole::cuda
