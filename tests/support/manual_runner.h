// A step runner whose steps are done when the test says so.
#pragma once

#include <optional>
#include <utility>

#include "engine/runtime/step_executor.h"
#include "engine/runtime/step_runner.h"

namespace keyhole::testing {

// Thread: one.
class ManualRunner final : public StepRunner {
 public:
  explicit ManualRunner(StepExecutor* executor) : executor_(executor) {}

  void Start(ModelInput input) override { input_ = std::move(input); }
  std::optional<absl::StatusOr<StepResult>> TryTake() override {
    return std::exchange(result_, std::nullopt);
  }

  bool running() const { return input_.has_value(); }
  const ModelInput& input() const { return *input_; }
  void Complete() {
    result_ = executor_->Run(*input_);
    input_.reset();
  }

 private:
  StepExecutor* executor_;
  std::optional<ModelInput> input_;
  std::optional<absl::StatusOr<StepResult>> result_;
};

}  // namespace keyhole::testing
