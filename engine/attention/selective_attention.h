// Attention of one layer over paged KV: append, select, fetch, attend. Names no policy and no device.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "engine/batch/model_input.h"
#include "engine/device/device.h"
#include "engine/kv/host_store.h"
#include "engine/model/model_config.h"
#include "engine/model/rope_table.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

struct AttentionSettings {
  PositionMode positions = PositionMode::kNative;
  SelectionSizes sizes;
};

// Keys in pages: rotated at the token's own position in native mode, un-rotated in rectified mode.
// Owner: the model. Thread: executor only.
class SelectiveAttention {
 public:
  SelectiveAttention(const ModelConfig& config,
                     const AttentionSettings& settings,
                     const RopeTable* rope,       // outlives this object
                     HostStore* store,            // outlives this object
                     std::unique_ptr<SelectionPolicy> policy);
  ~SelectiveAttention();

  // q [n_tokens, n_heads, head_dim], k and v [n_tokens, n_kv_heads, head_dim], all f32, un-rotated, rows as packed in
  // `input`; out [n_tokens, n_heads * head_dim]. `results` is parallel to input.sequences: a sequence whose selection
  // fails gets a failed status there, and its rows of `out` are zero.
  void Run(Device& device,
           std::int32_t layer,
           const ModelInput& input,
           const struct LayerProjections& projections,
           StepResult& result);

  // Sequences that will not come again.
  void EndSequence(RequestId id);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The three projections of one layer and where attention writes.
struct LayerProjections {
  const at::Tensor* q = nullptr;
  const at::Tensor* k = nullptr;
  const at::Tensor* v = nullptr;
  at::Tensor* out = nullptr;
};

}  // namespace keyhole
