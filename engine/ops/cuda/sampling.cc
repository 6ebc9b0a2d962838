#include "engine/ops/cuda/sampling.h"

#include "engine/ops/cuda/workspace.h"
#include "engine/ops/op_check.h"

namespace keyhole::cuda {
namespace {

void Check(const LogitsArgs& in, std::string_view op) {
  CheckOp(in.n_rows >= 0 && in.vocab_size > 0, op, "no vocabulary");
  CheckOp(in.n_rows == 0 || in.logits != nullptr, op, "null argument");
}

}  // namespace

void ArgMax(const Stream& stream, const ArgMaxArgs& args) {
  constexpr std::string_view kOp = "cuda ArgMax";
  Check(args.in, kOp);
  CheckOp(args.tokens != nullptr, kOp, "null argument");
  CheckLaunch(LaunchArgMax(args, stream.handle()), kOp);
}

void Softmax(const Stream& stream, const SoftmaxArgs& args) {
  constexpr std::string_view kOp = "cuda Softmax";
  Check(args.in, kOp);
  CheckOp(args.probabilities != nullptr, kOp, "null argument");
  CheckLaunch(LaunchSoftmax(args, stream.handle()), kOp);
}

}  // namespace keyhole::cuda
