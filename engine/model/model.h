// A language model: packed tokens in, logits out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/batch/model_input.h"
#include "engine/model/model_config.h"

namespace at {
class Tensor;
}

namespace keyhole {

// Owner: the model executor. Thread: executor only.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelConfig& config() const = 0;

  // Of the matrices that a step reads once, as they are held.
  virtual std::size_t weight_bytes() const = 0;

  // Appends the step's rows to the KV pages and returns logits [n_logit_rows, vocab_size] f32: for
  // each sequence in order its prompt_logprob_count rows, then its last row if it samples. They are
  // valid until the next call. Of a tensor-parallel model rank 0 gets them, the others no row.
  // REQUIRES: result.sequences is parallel to input.sequences. Errors: per sequence in `result`;
  // the returned status is for the whole step.
  virtual absl::StatusOr<at::Tensor> Forward(const ModelInput& input, StepResult& result) = 0;
};

}  // namespace keyhole
