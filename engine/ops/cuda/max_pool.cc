#include "engine/ops/cuda/max_pool.h"

#include <algorithm>

#include "engine/ops/op_check.h"

namespace keyhole::cuda {

namespace {

constexpr std::string_view kOp = "cuda MaxPool";

}  // namespace

MaxPoolArgs PlanMaxPool(std::int32_t eps,
                        std::span<const MaxPoolSequence> sequences,
                        Workspace& workspace) {
  if (sequences.empty()) return {};
  CheckOp(eps >= 0, kOp, "eps is negative");
  MaxPoolArgs args = {.n_sequences = static_cast<std::int32_t>(sequences.size()), .eps = eps};
  for (const MaxPoolSequence& sequence : sequences) {
    CheckOp(sequence.n >= 0 && (sequence.n == 0 || sequence.in != sequence.out),
            kOp,
            "the output is the input");
    args.max_n = std::max(args.max_n, sequence.n);
  }
  args.sequences = workspace.Upload(sequences);
  return args;
}

void MaxPool(std::int32_t eps, std::span<const MaxPoolSequence> sequences, Workspace& workspace) {
  if (sequences.empty()) return;
  const MaxPoolArgs args = PlanMaxPool(eps, sequences, workspace);
  CheckLaunch(LaunchMaxPool(args, workspace.stream().handle()), kOp);
}

}  // namespace keyhole::cuda
