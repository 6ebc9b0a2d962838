#include "engine/model/decoder_layer.h"

#include <algorithm>
#include <cstring>

#include "engine/ops/add.h"
#include "engine/ops/layer_linear.h"
#include "engine/ops/rms_norm.h"
#include "engine/scoped_timer.h"

namespace keyhole {
namespace {

// `name` is that of the trace.
void TimedLinear(const LayerContext& context,
                 const char* name,
                 const LayerRows& rows,
                 const PackedLinear& weight,
                 const LayerResult& result) {
  const ScopedTimer timer(&context.result->timings.linear_seconds);
  const TraceSpan span(context.device->trace(), name);
  LayerLinear(*context.device, rows, weight, result);
}

// What a block adds to the hidden states goes through rows.normed. Ranks add up their parts of it
// before that.
LayerResult AddToHidden(const LayerContext& context, Activations& rows) {
  return {&rows.normed, context.ranks == nullptr ? &rows.hidden : nullptr};
}

void AddRanks(const LayerContext& context, Activations& rows) {
  if (context.ranks == nullptr) return;
  context.ranks->AllReduce(*context.device, rows.normed);
  AddInPlace(*context.device, rows.hidden, rows.normed);
}

// The hidden states, normalised.
LayerRows NormedRows(const LayerContext& context, const at::Tensor& weight, Activations& rows) {
  return {&rows.hidden, context.n_decode, {&weight, context.config->norm_eps, &rows.normed}};
}

// Rows [q | k | v] to three matrices, as attention takes them.
void SplitProjections(Device& device, Projections& p) {
  const std::int64_t n = p.qkv.size(0);
  if (n == 1) return;  // already apart
  const std::int64_t width = p.qkv.size(1);
  const float* from = p.qkv.const_data_ptr<float>();
  const auto scatter = [&](const at::Tensor& part, std::int64_t column, std::int64_t row) {
    const std::int64_t size = part.size(1) * part.size(2);
    std::memcpy(part.mutable_data_ptr<float>() + row * size,
                from + row * width + column,
                static_cast<std::size_t>(size) * sizeof(float));
    return column + size;
  };
  constexpr std::int64_t kRowsPerTask = 32;
  device.pool().ParallelFor((n + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
    const std::int64_t end = std::min(n, (task + 1) * kRowsPerTask);
    for (std::int64_t row = task * kRowsPerTask; row < end; ++row) {
      scatter(p.v, scatter(p.k, scatter(p.q, 0, row), row), row);
    }
  });
}

}  // namespace

void Attend(const LayerContext& context,
            std::int32_t layer,
            const LayerWeights& weights,
            Projections& projections,
            Activations& rows) {
  Device& device = *context.device;
  const double eps = context.config->norm_eps;
  TimedLinear(context,
              "qkv",
              NormedRows(context, weights.attn_norm, rows),
              weights.qkv,
              {.out = &projections.qkv});
  SplitProjections(device, projections);
  if (context.config->qk_norm) {
    RmsNorm(device, projections.q, weights.q_norm, eps, projections.q);
    RmsNorm(device, projections.k, weights.k_norm, eps, projections.k);
  }
  LayerProjections tensors = {&projections.q, &projections.k, &projections.v, &rows.attended};
  if (context.ranks != nullptr) {
    context.ranks->GatherHeads(device, context.reads, projections, tensors);
  }
  context.attention->Run(device, layer, *context.input, tensors, *context.result);
}

void FinishLayer(const LayerContext& context, const LayerWeights& weights, Activations& rows) {
  const LayerRows attended = {&rows.attended, context.n_decode, {}};
  TimedLinear(context, "o", attended, weights.o, AddToHidden(context, rows));
  AddRanks(context, rows);
  {
    const ScopedTimer timer(&context.result->timings.linear_seconds);
    FeedForward(*context.device,
                NormedRows(context, weights.ffn_norm, rows),
                {&weights.gate_up, &weights.down},
                {&rows.gate_up, &rows.gated},
                AddToHidden(context, rows));
  }
  AddRanks(context, rows);
}

}  // namespace keyhole
