// A model's weights in device memory, or one rank's part: matrices in bf16, norms in f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/device/device_buffer.h"
#include "engine/model/model_shard.h"
#include "engine/model/weight_source.h"
#include "engine/ops/cuda/linear.h"

namespace keyhole::cuda {

struct DeviceLayerWeights {
  const float* attn_norm = nullptr;  // [hidden_size]
  DeviceMatrix qkv;                  // rows of q, then k, then v
  const float* q_bias = nullptr;     // [q_size]; null unless config.qkv_bias
  const float* k_bias = nullptr;     // [kv_size]
  const float* v_bias = nullptr;
  const float* q_norm = nullptr;  // [head_dim]; null unless config.qk_norm
  const float* k_norm = nullptr;
  DeviceMatrix o;
  const float* ffn_norm = nullptr;  // [hidden_size]
  DeviceMatrix gate_up;             // rows of gate, then up
  DeviceMatrix down;
};

// Immutable after loading. Owner: the model. REQUIRES: the stream outlives it.
class DeviceWeights {
 public:
  // `n_layers` may be more than the source has: then they are copies of its layers in turn, for
  // benchmarks of a large shape from a small file. Blocks until all is copied. Errors: those of
  // WeightSource::Get; RESOURCE_EXHAUSTED; others of the device.
  static absl::StatusOr<DeviceWeights> Load(const Stream& stream,
                                            const WeightSource& source,
                                            const ModelShard& shard,
                                            std::int64_t n_layers);

  const std::vector<DeviceLayerWeights>& layers() const { return layers_; }
  const DeviceMatrix& embedding() const { return embedding_; }  // [vocab_size, hidden_size]
  // The embedding where it is tied; of a rank, VocabWidth rows, zeros for those beyond the last.
  const DeviceMatrix& output() const { return output_; }
  const float* output_norm() const { return output_norm_; }
  std::size_t bytes() const;

 private:
  class Loader;

  std::vector<DeviceBuffer> memory_;
  std::vector<DeviceLayerWeights> layers_;
  DeviceMatrix embedding_;
  DeviceMatrix output_;
  const float* output_norm_ = nullptr;
};

}  // namespace keyhole::cuda
