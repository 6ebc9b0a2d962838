#include "engine/ops/cuda/attend_rows.h"

#include <bit>

#include "engine/ops/cuda/attend_plan.h"
#include "engine/ops/cuda/kernels/attend_split.h"

namespace keyhole::cuda {
namespace {

constexpr std::string_view kOp = "cuda AttendRows";

AttendArgs ArgsOf(AttendArgs args, const AttendLaunch& launch) {
  args.sequences += launch.first;
  args.n_sequences = launch.n_sequences;
  args.max_q_len = launch.max_q_len;
  args.max_splits = launch.max_splits;
  return args;
}

// Of so many vectors of head_dim.
std::size_t PartialBytes(std::size_t n, std::int32_t head_dim) {
  return Workspace::Block::Bytes(n * head_dim, sizeof(float)) +
         Workspace::Block::Bytes(n, sizeof(SoftmaxState));
}

}  // namespace

std::size_t AttendScratchBytes(std::int32_t n_sequences,
                               std::int32_t group,
                               std::int32_t head_dim) {
  const std::size_t n = std::size_t{kWantedBlocks} * n_sequences * group;
  return PartialBytes(std::bit_ceil(n), head_dim);
}

AttendRowsArgs PlanAttendRows(const AttendSettings& settings,
                              std::span<const AttendParams> sequences,
                              Workspace& workspace) {
  if (sequences.empty()) return {};
  AttendPlan plan;
  PlanAttend(settings, sequences, plan);
  const KvLayout& layout = sequences.front().store.layout;
  // Steps of about the same size find their scratch at the same addresses.
  const std::size_t n = std::bit_ceil(static_cast<std::size_t>(plan.n_partials));
  Workspace::Block block = workspace.Reserve(PartialBytes(n, layout.head_dim));
  const AttendArgs args = {.sequences = workspace.Upload<AttendSequence>(plan.sequences),
                           .layer = settings.layer,
                           .n_heads = settings.n_heads,
                           .n_kv_heads = layout.n_kv_heads,
                           .head_dim = layout.head_dim,
                           .softmax_scale = settings.softmax_scale,
                           .type = ElementOf(layout.type),
                           .partial_values = block.Cut<float>(n * layout.head_dim),
                           .partial_states = block.Cut<SoftmaxState>(n)};
  return {ArgsOf(args, plan.few), ArgsOf(args, plan.many)};
}

void AttendRows(std::int32_t layer, AttendRowsArgs args, const Stream& stream) {
  args.few.layer = layer;
  args.many.layer = layer;
  CheckLaunch(LaunchAttendFew(args.few, stream.handle()), kOp);
  CheckLaunch(LaunchAttendMany(args.many, stream.handle()), kOp);
  CheckLaunch(LaunchAttendMerge(args.few, stream.handle()), kOp);
  CheckLaunch(LaunchAttendMerge(args.many, stream.handle()), kOp);
}

void AttendRows(const AttendSettings& settings,
                std::span<const AttendParams> sequences,
                Workspace& workspace) {
  if (sequences.empty()) return;
  AttendRows(settings.layer, PlanAttendRows(settings, sequences, workspace), workspace.stream());
}

}  // namespace keyhole::cuda
