#include "engine/ops/cuda/row_ops.h"

#include "engine/ops/cuda/workspace.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {

void RmsNorm(const Stream& stream, const RmsNormArgs& args) {
  constexpr std::string_view kOp = "cuda RmsNorm";
  CheckOp(args.n_rows >= 0 && args.n >= 0, kOp, "negative sizes");
  CheckOp(args.n <= kMaxNormed, kOp, "a row is too long");
  CheckOp(args.n_rows * args.n == 0 || (args.x && args.weight && (args.out || args.rounded)),
          kOp,
          "null argument");
  CheckLaunch(LaunchRmsNorm(args, stream.handle()), kOp);
}

void ApplyRope(const Stream& stream, const RopeArgs& args) {
  constexpr std::string_view kOp = "cuda ApplyRope";
  CheckOp(args.n_rows >= 0 && args.n_heads >= 0 && args.half >= 0 && args.n_turns >= 0,
          kOp,
          "negative sizes");
  CheckOp(args.n_rows == 0 || (args.x && args.cos && args.sin && args.index && args.out),
          kOp,
          "null argument");
  CheckLaunch(LaunchRope(args, stream.handle()), kOp);
}

void SiluMul(const Stream& stream, const SiluMulArgs& args) {
  constexpr std::string_view kOp = "cuda SiluMul";
  CheckOp(args.n_rows >= 0 && args.n >= 0, kOp, "negative sizes");
  CheckOp(args.n_rows * args.n == 0 || (args.gate_up && (args.out || args.rounded)),
          kOp,
          "null argument");
  CheckLaunch(LaunchSiluMul(args, stream.handle()), kOp);
}

void AddInPlace(const Stream& stream, const AddArgs& args) {
  constexpr std::string_view kOp = "cuda AddInPlace";
  CheckOp(args.n >= 0 && (args.n == 0 || (args.x && args.y)), kOp, "null argument");
  CheckLaunch(LaunchAdd(args, stream.handle()), kOp);
}

void AddToRows(const Stream& stream, const AddToRowsArgs& args) {
  constexpr std::string_view kOp = "cuda AddToRows";
  CheckOp(args.n_rows >= 0 && args.n >= 0, kOp, "negative sizes");
  CheckOp(args.n_rows * args.n == 0 || (args.x && args.y), kOp, "null argument");
  CheckLaunch(LaunchAddToRows(args, stream.handle()), kOp);
}

void Lookup(const Stream& stream, const LookupArgs& args) {
  constexpr std::string_view kOp = "cuda Lookup";
  CheckOp(args.n_rows >= 0 && args.n >= 0, kOp, "negative sizes");
  CheckOp(args.n_rows * args.n == 0 || ((args.bf16_table || args.table) && args.index && args.out),
          kOp,
          "null argument");
  CheckLaunch(LaunchLookup(args, stream.handle()), kOp);
}

}  // namespace keyhole::cuda
