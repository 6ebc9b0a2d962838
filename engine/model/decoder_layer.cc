#include "engine/model/decoder_layer.h"

#include "engine/ops/add.h"
#include "engine/ops/layer_linear.h"
#include "engine/ops/rms_norm.h"
#include "engine/scoped_timer.h"

namespace keyhole {
namespace {

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

}  // namespace

void Attend(const LayerContext& context,
            std::int32_t layer,
            const LayerWeights& weights,
            Projections& projections,
            Activations& rows) {
  Device& device = *context.device;
  const double eps = context.config->norm_eps;
  {
    const ScopedTimer timer(&context.result->timings.linear_seconds);
    const TraceSpan span(device.trace(), "qkv");
    at::Tensor* const parts[] = {&projections.q, &projections.k, &projections.v};
    LayerLinearApart(device,
                     NormedRows(context, weights.attn_norm, rows),
                     weights.qkv,
                     {&projections.qkv, parts});
  }
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
  {
    const ScopedTimer timer(&context.result->timings.linear_seconds);
    const TraceSpan span(context.device->trace(), "o");
    LayerLinear(*context.device, attended, weights.o, AddToHidden(context, rows));
  }
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
