#include "engine/calibration/samples.h"

namespace keyhole {
namespace {

void Keep(const TokenChoice& choice,
          const ActivationRows& from,
          std::int64_t size,
          std::vector<float>& to) {
  for (std::int32_t i = 0; i < from.n_tokens; ++i) {
    if (!choice.Has(from.token + i)) continue;
    const float* row = from.rows + i * size;
    to.insert(to.end(), row, row + size);
  }
}

}  // namespace

SampleRecorder::SampleRecorder(const ModelConfig& config,
                               const TokenChoice& queries,
                               const TokenChoice& keys)
    : q_size_(config.q_size()),
      kv_size_(config.kv_size()),
      queries_(queries),
      keys_(keys),
      layers_(config.n_layers) {}

void SampleRecorder::OnQueries(Device&, const ActivationRows& queries) {
  Keep(queries_, queries, q_size_, layers_[queries.layer].queries);
}

void SampleRecorder::OnKeys(Device&, const ActivationRows& keys) {
  Keep(keys_, keys, kv_size_, layers_[keys.layer].keys);
}

}  // namespace keyhole
