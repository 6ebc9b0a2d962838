#include "engine/calibration/form_rows.h"

namespace keyhole {

std::vector<float> FormQueries(const ModelConfig& config,
                               DigestForm form,
                               const Rotation& to,
                               const LayerSample& sample) {
  const std::int64_t dim = config.head_dim;
  std::vector<float> turned(sample.queries.size());
  for (std::size_t at = 0; at < turned.size(); at += dim) {
    RotateHead(to, sample.queries.data() + at, turned.data() + at);
  }
  if (form == DigestForm::kPerKvHead) return turned;
  const std::int64_t n_rows = static_cast<std::int64_t>(turned.size()) / config.q_size();
  std::vector<float> summed(n_rows * config.kv_size());
  for (std::int64_t row = 0; row < n_rows; ++row) {
    for (std::int64_t head = 0; head < config.n_heads; ++head) {
      const float* from = turned.data() + row * config.q_size() + head * dim;
      float* sum = summed.data() + row * config.kv_size() + head / config.group() * dim;
      for (std::int64_t i = 0; i < dim; ++i) sum[i] += from[i];
    }
  }
  return summed;
}

}  // namespace keyhole
