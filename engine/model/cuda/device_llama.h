// The Llama family on the accelerator.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/attention/cuda/device_attention.h"
#include "engine/batch/model_input.h"
#include "engine/device/graph_cache.h"
#include "engine/device/pinned_buffer.h"
#include "engine/model/cuda/device_activations.h"
#include "engine/model/cuda/device_weights.h"
#include "engine/model/model_shard.h"
#include "engine/ops/cuda/linear.h"
#include "engine/ops/cuda/workspace.h"
#include "engine/parallel/device_collectives.h"

namespace keyhole::cuda {

struct DeviceLlamaParts {
  const Stream* stream = nullptr;  // all of it outlives the model
  const DeviceWeights* weights = nullptr;
  DeviceAttention* attention = nullptr;
  ModelShard shard;
  DeviceCollectives* ranks = nullptr;  // null where the shard is the whole
  std::int32_t n_sequences = 1;        // that run at once
};

// Of the rows that logits are wanted of, in the order of Model::Forward; the same on every rank.
// Host memory, valid until the next call.
struct DeviceOutputs {
  std::span<const TokenId> tokens;  // [n]: of the largest logits, ties to the smaller id
  std::span<const float> logits;    // [n, vocab_size]; empty unless asked for
};

// As Llama, with matrices and the inputs of products in bf16, f32 sums and rows. A step of one
// token a sequence is captured and replayed where an earlier one was of the same form and
// collectives allow it. The host waits once a step, for what is sampled, and where DeviceAttention
// and the collectives say so. Ranks split it as TensorParallel does. Owner: the model executor.
// Thread: executor only.
class DeviceLlama {
 public:
  explicit DeviceLlama(const DeviceLlamaParts& parts);  // throws DeviceError
  ~DeviceLlama();
  DeviceLlama(const DeviceLlama&) = delete;
  DeviceLlama& operator=(const DeviceLlama&) = delete;

  enum class Want { kTokens, kLogits };

  // REQUIRES: result.sequences is parallel to input.sequences, which is not empty. Errors: those of
  // DeviceAttention, of the device and of the collectives; then the step does not count.
  absl::StatusOr<DeviceOutputs> Forward(const ModelInput& input, Want want, StepResult& result);

  std::int64_t n_captures() const { return graphs_.n_captures(); }

  // Why a step could not be captured, the first time.
  const absl::Status& capture_failure() const { return graphs_.failure(); }

 private:
  // All that the step's launches depend on.
  struct StepKey {
    StepArguments attention;
    DeviceActivations rows;
    const std::int32_t* token_ids = nullptr;
    const std::int32_t* logit_rows = nullptr;
    std::int64_t n = 0;
    std::int64_t n_logits = 0;

    bool operator==(const StepKey&) const = default;
  };

  absl::Status Run(const ModelInput& input, StepResult& result, StepKey& step);
  void QueueStep(const StepKey& step);
  void QueueLayer(std::int32_t layer, const StepKey& step);
  void QueueLogits(const StepKey& step);
  void GatherHeads(std::int32_t layer, const StepKey& step);
  void AddProduct(const std::uint16_t* x, const DeviceMatrix& weight, const StepKey& step);
  absl::StatusOr<DeviceOutputs> Take(const StepKey& step, Want want, StepResult& result);

  DeviceLlamaParts parts_;
  LinearOp linear_;
  DeviceActivationMemory activations_;
  Workspace token_ids_;
  Workspace logit_rows_;
  PinnedBuffer outputs_;
  GraphCache<StepKey> graphs_;
};

}  // namespace keyhole::cuda
