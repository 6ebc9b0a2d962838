#include "engine/ops/cuda/rank_ops.h"

#include "engine/ops/cuda/workspace.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {

void JoinColumns(const Stream& stream, const JoinColumnsArgs& args) {
  constexpr std::string_view kOp = "cuda JoinColumns";
  CheckOp(args.n_rows >= 0 && args.n_cols >= 0, kOp, "negative sizes");
  if (args.n_rows * args.n_cols == 0) return;
  CheckOp(args.parts && args.out, kOp, "null argument");
  CheckOp(args.width > 0 && args.part_size >= args.n_rows * args.width, kOp, "parts overlap");
  CheckLaunch(LaunchJoinColumns(args, stream.handle()), kOp);
}

}  // namespace keyhole::cuda
