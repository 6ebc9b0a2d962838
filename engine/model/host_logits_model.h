// A model on the accelerator behind the interface of all models.
#pragma once

#include <memory>
#include <utility>

#include "engine/model/accelerator_model.h"
#include "engine/model/model.h"

namespace keyhole {

// Logits are tensors over the host memory that they came to.
class HostLogitsModel final : public Model {
 public:
  HostLogitsModel(ModelConfig config, std::unique_ptr<AcceleratorModel> model)
      : config_(std::move(config)), model_(std::move(model)) {}

  const ModelConfig& config() const override { return config_; }
  std::size_t weight_bytes() const override { return model_->weight_bytes(); }
  absl::StatusOr<at::Tensor> Forward(const ModelInput& input, StepResult& result) override;

 private:
  ModelConfig config_;
  std::unique_ptr<AcceleratorModel> model_;
};

}  // namespace keyhole
