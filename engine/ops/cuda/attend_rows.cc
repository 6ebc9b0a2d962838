#include "engine/ops/cuda/attend_rows.h"

#include "engine/ops/cuda/attend_plan.h"

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

}  // namespace

void AttendRows(const AttendSettings& settings,
                std::span<const AttendParams> sequences,
                Workspace& workspace) {
  if (sequences.empty()) return;
  AttendPlan plan;
  PlanAttend(settings, sequences, plan);
  const KvLayout& layout = sequences.front().store.layout;
  using Block = Workspace::Block;
  const auto n = static_cast<std::size_t>(plan.n_partials);
  Block block = workspace.Reserve(Block::Bytes(n * layout.head_dim, sizeof(float)) +
                                  Block::Bytes(n, sizeof(SoftmaxState)));
  const AttendArgs args = {.sequences = workspace.Upload<AttendSequence>(plan.sequences),
                           .layer = settings.layer,
                           .n_heads = settings.n_heads,
                           .n_kv_heads = layout.n_kv_heads,
                           .head_dim = layout.head_dim,
                           .softmax_scale = settings.softmax_scale,
                           .type = ElementOf(layout.type),
                           .partial_values = block.Cut<float>(n * layout.head_dim),
                           .partial_states = block.Cut<SoftmaxState>(n)};
  const cudaStream_t stream = workspace.stream().handle();
  const AttendArgs few = ArgsOf(args, plan.few);
  const AttendArgs many = ArgsOf(args, plan.many);
  CheckLaunch(LaunchAttendFew(few, stream), kOp);
  CheckLaunch(LaunchAttendMany(many, stream), kOp);
  CheckLaunch(LaunchAttendMerge(few, stream), kOp);
  CheckLaunch(LaunchAttendMerge(many, stream), kOp);
}

}  // namespace keyhole::cuda
