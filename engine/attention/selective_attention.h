// Attention of one layer over paged KV: append, select, attend. Names no policy and no device.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/attention/attention_settings.h"
#include "engine/batch/model_input.h"
#include "engine/device/device.h"
#include "engine/kv/host_store.h"
#include "engine/model/model_config.h"
#include "engine/ops/rope.h"
#include "engine/selection/selection_policy.h"

namespace at {
class Tensor;
}

namespace keyhole {

// Which heads attention computes and which ones selection looks at: with tensor parallelism a rank
// computes its own, and all ranks select by all heads, so that they select the same rows.
struct AttentionHeads {
  AttentionHeads(const ModelConfig& model)  // NOLINT(google-explicit-constructor): one rank
      : AttentionHeads(model, model) {}
  AttentionHeads(const ModelConfig& own, const ModelConfig& all)
      : n_heads(own.n_heads),
        n_kv_heads(own.n_kv_heads),
        all_heads(all.n_heads),
        all_kv_heads(all.n_kv_heads),
        head_dim(own.head_dim) {}

  bool split() const { return n_heads != all_heads; }

  std::int64_t n_heads;
  std::int64_t n_kv_heads;
  std::int64_t all_heads;
  std::int64_t all_kv_heads;
  std::int64_t head_dim;
};

// What the selection of one step reads of all heads.
enum class SelectionReads { kNothing, kKeys, kQueriesAndKeys };

// The three projections of one layer and where attention writes. f32, rows as packed in the step.
struct LayerProjections {
  const at::Tensor* q = nullptr;  // [n_tokens, n_heads, head_dim], un-rotated
  const at::Tensor* k = nullptr;  // [n_tokens, n_kv_heads, head_dim], un-rotated
  const at::Tensor* v = nullptr;  // [n_tokens, n_kv_heads, head_dim]
  at::Tensor* out = nullptr;      // [n_tokens, n_heads * head_dim]

  // q and k of all ranks' heads, where selection reads them; null with one rank, which has them
  // all.
  const at::Tensor* all_q = nullptr;  // [n_tokens, all_heads, head_dim]
  const at::Tensor* all_k = nullptr;  // [n_tokens, all_kv_heads, head_dim]
};

// Keys in pages: rotated at the token's own position in native mode, un-rotated in rectified mode.
// Owner: the model. Thread: executor only.
class SelectiveAttention {
 public:
  SelectiveAttention(const AttentionHeads& heads,
                     const AttentionSettings& settings,
                     RopeRows rope,     // of every position and distance; outlives this object
                     HostStore* store,  // outlives this object
                     std::unique_ptr<SelectionPolicy> policy);
  ~SelectiveAttention();

  // A sequence whose status in `result` is not OK, or whose selection fails here, gets rows of
  // zeros and appends nothing. Adds to the timings (attention includes selection) and to
  // selected_rows. REQUIRES: result.sequences is parallel to input.sequences.
  void Run(Device& device,
           std::int32_t layer,
           const ModelInput& input,
           const LayerProjections& projections,
           StepResult& result);

  // Of every layer of this step: the same on every rank.
  SelectionReads ReadsOf(const ModelInput& input) const;

  // The sequence will not come again.
  void EndSequence(RequestId id);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace keyhole
