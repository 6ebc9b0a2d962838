#include "engine/selection/query_probes.h"

#include <algorithm>

#include "engine/ops/probe_span.h"
#include "engine/ops/rotate_head.h"

namespace keyhole {

void MakeProbes(const SelectionContext& context,
                const ProbeRule& rule,
                RopeRows rope,
                QueryProbes& probes) {
  const std::int32_t d = context.head_dim;
  const std::int32_t out_heads = rule.sum_groups ? rule.n_kv_heads : context.n_heads;
  const std::int32_t group = context.n_heads / out_heads;
  const std::int32_t span = ProbeSpan(context.q_len, rule.probes, rule.single_queries);
  probes.n_probes = ProbeCount(context.q_len, span);
  probes.n_heads = out_heads;
  probes.values.assign(static_cast<std::size_t>(probes.n_probes) * out_heads * d, 0.0F);
  const Rotation to_distance = RotationTo(rope, d, rule.distance);
  for (std::int32_t p = 0; p < probes.n_probes; ++p) {
    const std::int32_t begin = p * span;
    const std::int32_t end = std::min(begin + span, context.q_len);
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
      RotateHead(to_distance, out, out);
    }
  }
}

}  // namespace keyhole
