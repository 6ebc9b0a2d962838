#include "engine/model/host_logits_model.h"

#include <ATen/ops/from_blob.h>

#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<at::Tensor> HostLogitsModel::Forward(const ModelInput& input, StepResult& result) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::span<const float> logits, model_->Forward(input, result));
  const auto n_rows = static_cast<std::int64_t>(logits.size()) / config_.vocab_size;
  // at::from_blob takes no const; nobody writes logits.
  return at::from_blob(const_cast<float*>(logits.data()), {n_rows, config_.vocab_size}, at::kFloat);
}

}  // namespace keyhole
