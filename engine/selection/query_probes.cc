#include "engine/selection/query_probes.h"

#include <algorithm>

namespace keyhole {
namespace {

// Half-split layout, in place.
void Rotate(const float* cos, const float* sin, std::span<float> x) {
  const std::size_t half = x.size() / 2;
  for (std::size_t c = 0; c < half; ++c) {
    const float low = x[c];
    const float high = x[c + half];
    x[c] = low * cos[c] - high * sin[c];
    x[c + half] = high * cos[c] + low * sin[c];
  }
}

}  // namespace

void MakeProbes(const SelectionContext& context,
                const ProbeRule& rule,
                RopeRows rope,
                QueryProbes& probes) {
  const std::int32_t d = context.head_dim;
  const std::int32_t out_heads = rule.sum_groups ? rule.n_kv_heads : context.n_heads;
  const std::int32_t group = context.n_heads / out_heads;
  probes.n_probes = (context.q_len + rule.span - 1) / rule.span;
  probes.n_heads = out_heads;
  probes.values.assign(static_cast<std::size_t>(probes.n_probes) * out_heads * d, 0.0F);
  const std::ptrdiff_t angle = static_cast<std::ptrdiff_t>(rule.distance) * (d / 2);
  for (std::int32_t p = 0; p < probes.n_probes; ++p) {
    const std::int32_t begin = p * rule.span;
    const std::int32_t end = std::min(begin + rule.span, context.q_len);
    const float weight = 1.0F / static_cast<float>(end - begin);
    for (std::int32_t h = 0; h < context.n_heads; ++h) {
      float* out =
          probes.values.data() + (static_cast<std::ptrdiff_t>(p) * out_heads + h / group) * d;
      for (std::int32_t i = begin; i < end; ++i) {
        const float* q =
            context.queries + (static_cast<std::ptrdiff_t>(i) * context.n_heads + h) * d;
        for (std::int32_t c = 0; c < d; ++c) out[c] += q[c] * weight;
      }
    }
    for (std::int32_t h = 0; h < out_heads; ++h) {
      float* out = probes.values.data() + (static_cast<std::ptrdiff_t>(p) * out_heads + h) * d;
      Rotate(rope.cos + angle, rope.sin + angle, std::span(out, static_cast<std::size_t>(d)));
    }
  }
}

}  // namespace keyhole
