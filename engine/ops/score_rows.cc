#include "engine/ops/score_rows.h"

#include <algorithm>
#include <new>
#include <vector>

#include "engine/device/aligned_buffer.h"
#include "engine/ops/cpu/selection_dispatch.h"
#include "engine/ops/op_check.h"
#include "engine/ops/score_span.h"

namespace keyhole {

struct ScoreWorkspace::State {
  ScorePlan plan;
  AlignedBuffer kept;
  std::vector<ScoreState> parts;
  std::vector<ScoreState> totals;
  std::vector<float> weights;

  ScoreBuffers Reserve();
};

ScoreWorkspace::ScoreWorkspace() : state_(std::make_unique<State>()) {}
ScoreWorkspace::~ScoreWorkspace() = default;

ScoreBuffers ScoreWorkspace::State::Reserve() {
  const auto grow = [](auto& buffer, std::size_t n) {
    if (buffer.size() < n) buffer.resize(n);
    return buffer.data();
  };
  const std::size_t kept_bytes = static_cast<std::size_t>(plan.n_kept) * sizeof(float);
  if (kept.size() < kept_bytes) {
    kept = {};
    kept = AlignedBuffer::Allocate(kept_bytes);
    if (kept.size() < kept_bytes) throw std::bad_alloc();
  }
  return {.kept = reinterpret_cast<float*>(kept.data()),
          .parts = grow(parts, plan.n_states),
          .totals = grow(totals, plan.scales.size()),
          .weights = grow(weights, plan.n_states)};
}

namespace {

constexpr std::int32_t kMaxRank = 8192;        // so that products stay far above kScoreNone
constexpr std::int64_t kKeptFloats = 4 << 20;  // of a round: 16 MB stay in the last cache

void Check(const ScoreRowsParams& params) {
  constexpr std::string_view kOp = "ScoreRows";
  if (params.rows.empty()) return;
  CheckOp(params.store != nullptr && params.queries != nullptr && params.scales != nullptr &&
              params.out != nullptr,
          kOp,
          "null argument");
  const DigestLayout& layout = params.store->layout();
  const std::int64_t room = static_cast<std::int64_t>(params.pages.size()) * layout.page_size;
  const std::int64_t listed = static_cast<std::int64_t>(params.blocks.size()) * kDigestBlockTokens;
  CheckOp(params.rows.begin >= 0 && params.rows.end <= (listed > 0 ? listed : room),
          kOp,
          "rows leave the page table");
  for (const std::int32_t block : params.blocks) {
    CheckOp(block >= 0 && (block + 1) * std::int64_t{kDigestBlockTokens} <= room,
            kOp,
            "a block leaves the page table");
  }
  CheckOp(params.slot >= 0 && params.slot < layout.n_slots, kOp, "no such slot");
  CheckOp(layout.rank <= kMaxRank, kOp, "rank is too large");
  CheckOp(params.n_probes > 0, kOp, "there is no probe");
  CheckOp(params.n_heads > 0 && params.n_heads % layout.n_groups == 0,
          kOp,
          "n_heads is not a multiple of n_groups");
}

// How many of the sequences, at least one, keep their terms in the last cache together.
std::size_t RoundSize(std::span<const ScoreRowsParams> sequences) {
  std::int64_t floats = 0;
  std::size_t n = 0;
  for (; n < sequences.size(); ++n) {
    floats += KeptFloats(sequences[n]);
    if (n > 0 && floats > kKeptFloats) break;
  }
  return n;
}

void ScoreRound(Device& device,
                const SelectionKernels& kernels,
                std::span<const ScoreRowsParams> sequences,
                ScoreWorkspace::State& state) {
  const ScorePlan& plan = state.plan;
  PlanScores(sequences, kernels.score, state.plan);
  const ScorePasses passes(kernels, plan, state.Reserve());
  const auto n_spans = static_cast<std::int64_t>(plan.spans.size());
  ThreadPool& pool = device.pool();
  pool.ParallelFor(n_spans, [&](std::int64_t i) { passes.Reduce(plan.spans[i]); });
  pool.ParallelFor(static_cast<std::int64_t>(plan.sequences.size()),
                   [&](std::int64_t i) { passes.Merge(plan.sequences[i]); });
  pool.ParallelFor(n_spans, [&](std::int64_t i) { passes.Write(plan.spans[i]); });
}

}  // namespace

void ScoreRows(Device& device,
               std::span<const ScoreRowsParams> sequences,
               ScoreWorkspace& workspace) {
  for (const ScoreRowsParams& params : sequences) Check(params);
  const SelectionKernels kernels = SelectionKernelsFor(device.cpu_level());
  while (!sequences.empty()) {
    const std::size_t n = RoundSize(sequences);
    ScoreRound(device, kernels, sequences.first(n), workspace.state());
    sequences = sequences.subspan(n);
  }
}

}  // namespace keyhole
