// Runs the model and the sampler for one step.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/device/device.h"
#include "engine/model/model.h"
#include "engine/runtime/step_executor.h"
#include "engine/types.h"

namespace keyhole {

// The one place where exceptions of LibTorch end: a step that throws is INTERNAL, with the cause in
// its text, which no client sees. A non-finite logit fails its own sequence. LibTorch's own threads
// are switched off for the whole process, since the device's pool is the only one. Owner: the
// engine. Thread: executor only, once constructed.
class ModelExecutor final : public StepExecutor {
 public:
  // `device` outlives this object. `end_tokens` end an answer; they are masked along with a
  // request's stop tokens while a slice says forbid_end.
  ModelExecutor(std::unique_ptr<Model> model, Device* device, std::vector<TokenId> end_tokens);

  absl::StatusOr<StepResult> Run(const ModelInput& input) override;

 private:
  struct LogitRow;

  absl::StatusOr<StepResult> RunModel(const ModelInput& input);
  void ReadLogits(const ModelInput& input, const float* logits, StepResult& result);
  absl::StatusOr<TokenInfo> ReadRow(const SequenceSlice& slice,
                                    const LogitRow& row,
                                    std::span<const float> logits) const;

  std::unique_ptr<Model> model_;
  Device* device_;
  std::vector<TokenId> end_tokens_;
};

}  // namespace keyhole
