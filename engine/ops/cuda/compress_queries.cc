#include "engine/ops/cuda/compress_queries.h"

#include <algorithm>
#include <vector>

#include "engine/ops/op_check.h"
#include "engine/ops/probe_span.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda CompressQueries";

void Check(const QueryMap& map) {
  CheckOp(map.map != nullptr && map.n_groups > 0, kOp, "no map");
  CheckOp(map.rank > 0 && map.rank <= kMaxRank, kOp, "rank is not in [1, 512]");
  CheckOp(map.head_dim > 0 && map.head_dim % 2 == 0, kOp, "head_dim is odd");
  CheckOp(map.in_dim > 0 && map.in_dim <= kMaxInDim && map.in_dim % map.head_dim == 0,
          kOp,
          "in_dim is not whole heads, at most 4096 values");
  CheckOp(map.n_queries > 0 && map.n_queries % map.n_groups == 0,
          kOp,
          "n_queries is not a multiple of n_groups");
  const std::int32_t heads = map.in_dim / map.head_dim * map.n_queries;
  CheckOp(map.n_heads > 0 && map.n_heads % heads == 0,
          kOp,
          "n_heads is not a multiple of the queries' heads");
  CheckOp(map.distance.cos != nullptr && map.distance.sin != nullptr, kOp, "no rotation");
}

}  // namespace

CompressQueriesArgs PlanCompressQueries(const QueryMap& map,
                                        std::span<const CompressQueriesParams> sequences,
                                        Workspace& workspace) {
  if (sequences.empty()) return {};
  Check(map);
  CompressQueriesArgs args = {.n_sequences = static_cast<std::int32_t>(sequences.size()),
                              .n_heads = map.n_heads,
                              .head_dim = map.head_dim,
                              .n_queries = map.n_queries,
                              .n_groups = map.n_groups,
                              .rank = map.rank,
                              .in_dim = map.in_dim,
                              .map = map.map,
                              .cos = map.distance.cos,
                              .sin = map.distance.sin,
                              .scale = map.softmax_scale * map.distance.attention_factor};
  std::vector<CompressSequence> table;
  for (const CompressQueriesParams& params : sequences) {
    CheckOp(params.q_len >= 0 && params.span > 0, kOp, "no queries of a probe");
    CheckOp(params.q_len == 0 || (params.queries && params.codes && params.scales),
            kOp,
            "null argument");
    const std::int32_t n_probes = ProbeCount(params.q_len, params.span);
    args.max_probes = std::max(args.max_probes, n_probes);
    table.push_back({.queries = params.queries,
                     .q_len = params.q_len,
                     .span = params.span,
                     .n_probes = n_probes,
                     .codes = params.codes,
                     .scales = params.scales});
  }
  args.sequences = workspace.Upload<CompressSequence>(table);
  return args;
}

void CompressQueries(const QueryMap& map,
                     std::span<const CompressQueriesParams> sequences,
                     Workspace& workspace) {
  if (sequences.empty()) return;
  const CompressQueriesArgs args = PlanCompressQueries(map, sequences, workspace);
  CheckLaunch(LaunchCompressQueries(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
