#include "engine/selection/digest_scorer.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "engine/scoped_timer.h"
#include "engine/selection/dot.h"

namespace keyhole {
namespace {

constexpr std::int32_t kBlock = kDigestBlockTokens;
constexpr std::int32_t kFineBudgets = 4;   // rows that are scored by all dimensions, in budgets
constexpr std::int32_t kWorthRanking = 2;  // candidates, in such rows, at least

absl::Status Check(const PolicyParts& parts, const DigestRule& rule) {
  if (parts.maps == nullptr || parts.digests == nullptr) {
    return absl::InvalidArgumentError("this selection policy needs a calibration");
  }
  const DigestMaps& maps = *parts.maps;
  const bool concatenated = rule.form == DigestForm::kConcatenated;
  const std::int32_t groups = concatenated ? 1 : parts.n_kv_heads;
  const std::int32_t in_dim = parts.n_kv_heads * parts.head_dim / groups;
  const DigestLayout& layout = parts.digests->layout();
  if (maps.form != rule.form || maps.n_groups != groups || maps.in_dim != in_dim ||
      layout.n_groups != groups || layout.rank != maps.rank || layout.n_slots != CountSlots(maps)) {
    return absl::InvalidArgumentError("the calibration is of another shape than the model");
  }
  return absl::OkStatus();
}

// One query's codes and the scale of their products.
float Quantize(std::span<const float> values, std::int8_t* codes) {
  float top = 0;
  for (const float v : values) top = std::max(top, std::abs(v));
  if (top == 0) {
    std::fill_n(codes, values.size(), std::int8_t{0});
    return 0;
  }
  const float to_code = 127 / top;
  for (std::size_t i = 0; i < values.size(); ++i) {
    codes[i] = static_cast<std::int8_t>(std::lrint(values[i] * to_code));
  }
  return top / 127;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RowScorer>> DigestScorer::Create(const PolicyParts& parts,
                                                                const DigestRule& rule) {
  if (absl::Status status = Check(parts, rule); !status.ok()) return status;
  return std::unique_ptr<RowScorer>(new DigestScorer(parts, rule));
}

DigestScorer::DigestScorer(const PolicyParts& parts, const DigestRule& rule)
    : parts_(parts),
      rule_(rule),
      probe_rule_({.probes = rule.score == ScoreRule::kVote ? parts.probes : 0,
                   .single_queries = parts.single_queries,
                   .sum_groups = rule.form == DigestForm::kConcatenated,
                   .distance = parts.query_distance,
                   .n_kv_heads = parts.n_kv_heads}),
      softmax_scale_(1 / std::sqrt(static_cast<float>(parts.head_dim))) {
  std::int32_t next = 0;
  for (const LayerDigestMaps& layer : parts.maps->layers) {
    slots_.push_back(layer.selects ? next++ : -1);
  }
}

std::unique_ptr<RowScorer> DigestScorer::Clone() const {
  return std::unique_ptr<RowScorer>(new DigestScorer(parts_, rule_));
}

std::int32_t DigestScorer::QueriesPerProbe() const {
  return rule_.form == DigestForm::kConcatenated ? 1 : probes_.n_heads;
}

void DigestScorer::Compress(const SelectionContext& context) {
  MakeProbes(context, probe_rule_, parts_.rope, probes_);
  const DigestMaps& maps = *parts_.maps;
  const float* map = maps.layers[context.layer].query.data();
  const std::int32_t heads = QueriesPerProbe();
  const std::int32_t group = heads / maps.n_groups;
  const std::int32_t n = probes_.n_probes * heads;
  codes_.resize(static_cast<std::size_t>(n) * maps.rank);
  scales_.resize(n);
  compressed_.resize(maps.rank);
  for (std::int32_t i = 0; i < n; ++i) {
    const float* q = probes_.values.data() + static_cast<std::ptrdiff_t>(i) * maps.in_dim;
    const float* rows =
        map + static_cast<std::ptrdiff_t>(i % heads / group) * maps.rank * maps.in_dim;
    for (std::int32_t r = 0; r < maps.rank; ++r, rows += maps.in_dim) {
      compressed_[r] = Dot(rows, q, maps.in_dim);
    }
    scales_[i] = softmax_scale_ * parts_.rope.attention_factor *
                 Quantize(compressed_, codes_.data() + static_cast<std::ptrdiff_t>(i) * maps.rank);
  }
}

Candidates DigestScorer::Prepare(Device& device,
                                 const SelectionContext& context,
                                 RowRange middle,
                                 LayerSelection& times) {
  {
    const ScopedTimer timer(&times[SelectionStage::kCompress]);
    const TraceSpan span(device.trace(), "compress");
    Compress(context);
  }
  const std::int32_t fine = std::max(parts_.fine_rows, kFineBudgets * context.sizes.selected);
  if (rule_.score != ScoreRule::kVote || parts_.digests->layout().coarse_dims == 0 ||
      middle.size() < kWorthRanking * fine) {
    return {middle};
  }
  const ScopedTimer timer(&times[SelectionStage::kScore]);
  const TraceSpan span(device.trace(), "rank");
  return BestBlocks(device, context, middle, fine / kBlock);
}

// With the blocks at the middle's ends that are not whole.
Candidates DigestScorer::BestBlocks(Device& device,
                                    const SelectionContext& context,
                                    RowRange middle,
                                    std::int32_t n_blocks) {
  const std::int32_t first = (middle.begin + kBlock - 1) / kBlock;
  const std::int32_t end = middle.end / kBlock;
  ranks_.resize(end - first);
  RankBlocks(device,
             {.store = parts_.digests,
              .slot = slots_[context.layer],
              .pages = context.pages,
              .first = first,
              .end = end,
              .n_probes = probes_.n_probes,
              .n_heads = QueriesPerProbe(),
              .queries = codes_.data(),
              .scales = scales_.data(),
              .out = ranks_.data()},
             rank_workspace_);
  TopK(device, ranks_, n_blocks, first, top_k_, blocks_);
  if (first * kBlock > middle.begin) blocks_.insert(blocks_.begin(), first - 1);
  if (end * kBlock < middle.end) blocks_.push_back(end);
  const auto places = static_cast<std::int32_t>(blocks_.size()) * kBlock;
  return {{std::max(0, middle.begin - blocks_.front() * kBlock),
           places - std::max(0, (blocks_.back() + 1) * kBlock - middle.end)},
          blocks_};
}

void DigestScorer::Score(Device& device,
                         const SelectionContext& context,
                         const Candidates& candidates,
                         LayerSelection& times,
                         std::span<float> scores) {
  const ScopedTimer timer(&times[SelectionStage::kScore]);
  const TraceSpan span(device.trace(), "score");
  const ScoreRowsParams params = {.store = parts_.digests,
                                  .slot = slots_[context.layer],
                                  .pages = context.pages,
                                  .rows = candidates.rows,
                                  .blocks = candidates.blocks,
                                  .rule = rule_.score,
                                  .n_probes = probes_.n_probes,
                                  .n_heads = QueriesPerProbe(),
                                  .queries = codes_.data(),
                                  .scales = scales_.data(),
                                  .out = scores.data()};
  ScoreRows(device, {&params, 1}, workspace_);
}

void DigestScorer::OnAppend(Device& device, std::span<const AppendContext> sequences) {
  appends_.clear();
  for (const AppendContext& sequence : sequences) {
    if (slots_[sequence.layer] < 0) continue;
    appends_.push_back({.store = parts_.digests,
                        .slot = slots_[sequence.layer],
                        .pages = sequence.pages,
                        .first = sequence.first,
                        .n_tokens = sequence.n_tokens,
                        .keys = sequence.keys,
                        .map = parts_.maps->layers[sequence.layer].key.data(),
                        .in_dim = parts_.maps->in_dim});
  }
  AppendDigests(device, appends_);
}

}  // namespace keyhole
