// One layer of a Llama-family decoder, as two blocks that add to the hidden states.
#pragma once

#include <cstdint>

#include "engine/attention/selective_attention.h"
#include "engine/batch/model_input.h"
#include "engine/device/device.h"
#include "engine/model/activations.h"
#include "engine/model/model_config.h"
#include "engine/model/model_weights.h"
#include "engine/model/tensor_parallel.h"

namespace keyhole {

// What the layers of one step share.
struct LayerContext {
  Device* device = nullptr;
  const ModelConfig* config = nullptr;  // of this rank's part
  SelectiveAttention* attention = nullptr;
  const ModelInput* input = nullptr;
  StepResult* result = nullptr;                     // failures of single sequences, and timings
  TensorParallel* ranks = nullptr;                  // null: this process has the whole model
  SelectionReads reads = SelectionReads::kNothing;  // what all ranks' heads are gathered for
  std::int64_t n_decode = 0;                        // rows before those of prefill chunks
};

// rows.attended = attention(norm(rows.hidden)); keys and values are appended to the pages.
void Attend(const LayerContext& context,
            std::int32_t layer,
            const LayerWeights& weights,
            Projections& projections,
            Activations& rows);

// hidden += o(attended); hidden += down(silu(gate) * up) of norm(hidden). Rows do not depend on one
// another, so `rows` may be a part of those that attended.
void FinishLayer(const LayerContext& context, const LayerWeights& weights, Activations& rows);

}  // namespace keyhole
