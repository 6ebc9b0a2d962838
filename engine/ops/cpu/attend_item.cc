#include "engine/ops/cpu/attend_item.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/ops/cpu/attend_run.h"
#include "engine/ops/cpu/kernels_for_level.h"

namespace keyhole {
namespace {

AttendState StateAt(float* memory, std::int32_t padded_lanes) {
  return {memory, memory + padded_lanes, memory + 2 * static_cast<std::ptrdiff_t>(padded_lanes)};
}

float* OutputOf(const AttendParams& params, const AttendItem& item, std::int32_t lane) {
  const KvLayout& layout = params.store->layout();
  const LanePlace place = PlaceOf(item, params.n_heads / layout.n_kv_heads, lane);
  return params.out + place.HeadOf(params.n_heads) * layout.head_dim;
}

void WriteOutput(const AttendRun& run) {
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
  const std::size_t sizes[] = {
      dim * lanes,
      kAttendMostRows * ((dim + 31) / 32 * 32),
      std::max<std::size_t>(kAttendMostRows, dim) * std::max<std::size_t>(kLeastScoreLanes, lanes),
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
  static constexpr LevelKernels<AttendKernelSet> kSets[] = {
#if defined(__x86_64__)
    {CpuLevel::kAmx, AttendKernelsAmx},
    {CpuLevel::kAvx512Bf16, AttendKernelsAvx512Bf16},
    {CpuLevel::kAvx512, AttendKernelsAvx512},
    {CpuLevel::kAvx2, AttendKernelsAvx2},
#endif
    {CpuLevel::kPortable, AttendKernelsPortable},
  };
  return KernelsForLevel(level, kSets);
}

void RunAttendItem(const AttendWork& work,
                   const AttendItem& item,
                   const AttendItem* next,
                   AttendScratch& scratch) {
  const AttendParams& params = work.sequences[item.sequence];
  AttendRun run{work, params, item, scratch, {}};
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
    const bool sees_some = std::any_of(items.begin(), items.end(), [&](const AttendItem& item) {
      return partials[item.partial + padded_lanes + lane] != 0;
    });
    if (!sees_some) continue;
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
