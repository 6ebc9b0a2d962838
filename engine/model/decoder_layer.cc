#include "engine/model/decoder_layer.h"

#include <algorithm>
#include <cstring>

#include "engine/ops/add.h"
#include "engine/ops/linear.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/silu_mul.h"
#include "engine/scoped_timer.h"

namespace keyhole {
namespace {

// `name` is that of the trace.
void TimedLinear(const LayerContext& context,
                 const char* name,
                 const at::Tensor& x,
                 const PackedLinear& weight,
                 at::Tensor& out) {
  const ScopedTimer timer(&context.result->timings.linear_seconds);
  const TraceSpan span(context.device->trace(), name);
  Linear(*context.device, x, weight, out);
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
  RmsNorm(device, rows.hidden, weights.attn_norm, eps, rows.normed);
  TimedLinear(context, "qkv", rows.normed, weights.qkv, projections.qkv);
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
  Device& device = *context.device;
  TimedLinear(context, "o", rows.attended, weights.o, rows.normed);
  if (context.ranks != nullptr) context.ranks->AllReduce(device, rows.normed);
  AddInPlace(device, rows.hidden, rows.normed);
  RmsNorm(device, rows.hidden, weights.ffn_norm, context.config->norm_eps, rows.normed);
  TimedLinear(context, "gate_up", rows.normed, weights.gate_up, rows.gate_up);
  SiluMul(device, rows.gate_up, rows.gated);
  TimedLinear(context, "down", rows.gated, weights.down, rows.normed);
  if (context.ranks != nullptr) context.ranks->AllReduce(device, rows.normed);
  AddInPlace(device, rows.hidden, rows.normed);
}

}  // namespace keyhole
