#include "engine/ops/cuda/score_rows.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cuda/check_rows.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda ScoreRows";

void Check(const ScoreSettings& settings,
           const ScoreRowsParams& params,
           const DigestLayout& layout) {
  CheckStore(kOp, params.store, layout, settings.slot);
  CheckOp(settings.n_heads > 0 && settings.n_heads % layout.n_groups == 0,
          kOp,
          "n_heads is not a multiple of n_groups");
  if (!params.rows.empty()) {
    CheckRows(kOp,
              params.rows.begin,
              params.rows.size(),
              params.pages.n_rows(params.store.layout.page_size));
  }
  CheckOp(params.n_probes > 0, kOp, "no probes");
}

ScoreSequence SequenceOf(const ScoreRowsParams& params) {
  const std::int32_t end = std::max(params.rows.begin, params.rows.end);
  const ScoreSpans spans = SpansOf(params.rows.begin, end);
  return {.digests = DigestsIn(params.store),
          .pages = params.pages.ids,
          .begin = params.rows.begin,
          .end = end,
          .n_probes = params.n_probes,
          .queries = params.queries,
          .scales = params.scales,
          .out = params.out,
          .span_tokens = spans.span_tokens,
          .n_spans = params.rows.empty() ? 0 : spans.n_spans};
}

}  // namespace

ScoreRowsArgs PlanScoreRows(const ScoreSettings& settings,
                            std::span<const ScoreRowsParams> sequences,
                            Workspace& workspace) {
  if (sequences.empty()) return {};
  const DigestLayout& layout = sequences.front().store.layout;
  std::vector<ScoreSequence> table;
  ScoreRowsArgs args = {.n_sequences = static_cast<std::int32_t>(sequences.size()),
                        .slot = settings.slot,
                        .n_heads = settings.n_heads,
                        .n_groups = layout.n_groups,
                        .rank = layout.rank,
                        .rule = settings.rule};
  using Block = Workspace::Block;
  std::size_t bytes = 0;
  for (const ScoreRowsParams& params : sequences) {
    Check(settings, params, layout);
    const ScoreSequence& sequence = table.emplace_back(SequenceOf(params));
    const std::int32_t n_queries = params.n_probes * settings.n_heads;
    args.max_spans = std::max(args.max_spans, sequence.n_spans);
    args.max_queries = std::max(args.max_queries, n_queries);
    args.max_candidates =
        std::max(args.max_candidates, SpannedTokens(sequence.begin, sequence.end));
    bytes += Block::Bytes(std::size_t(n_queries) * (sequence.n_spans + 1), sizeof(ScoreState));
  }
  Block block = workspace.Reserve(bytes);
  for (ScoreSequence& sequence : table) {
    const std::size_t n_queries = std::size_t(sequence.n_probes) * settings.n_heads;
    sequence.parts = block.Cut<ScoreState>(n_queries * (sequence.n_spans + 1));
    sequence.totals = sequence.parts + n_queries * sequence.n_spans;
  }
  args.sequences = workspace.Upload<ScoreSequence>(table);
  return args;
}

void ScoreRows(const ScoreSettings& settings,
               std::span<const ScoreRowsParams> sequences,
               Workspace& workspace) {
  if (sequences.empty()) return;
  const ScoreRowsArgs args = PlanScoreRows(settings, sequences, workspace);
  CheckLaunch(LaunchScoreRows(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
