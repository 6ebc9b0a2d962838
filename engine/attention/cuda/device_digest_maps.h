// The maps that compress queries and keys, in device memory.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/device/device_buffer.h"
#include "engine/kv/digest_layout.h"
#include "engine/selection/digest_maps.h"

namespace keyhole::cuda {

// Owner: attention. Thread: executor only. REQUIRES: the stream outlives it.
class DeviceDigestMaps {
 public:
  struct Layer {
    const float* query = nullptr;  // [n_groups, rank, in_dim], device
    const float* key = nullptr;
    std::int32_t slot = -1;  // of the layer's digests; -1: it selects nothing
  };

  // Throws DeviceError. Blocks until `maps` is copied.
  DeviceDigestMaps(const Stream& stream, const DigestMaps& maps);

  const Layer& layer(std::int32_t index) const { return layers_[index]; }
  DigestForm form() const { return form_; }
  std::int32_t n_groups() const { return n_groups_; }
  std::int32_t rank() const { return rank_; }
  std::int32_t in_dim() const { return in_dim_; }
  DigestLayout layout(std::int32_t page_size) const {
    return {.n_slots = n_slots_, .n_groups = n_groups_, .rank = rank_, .page_size = page_size};
  }

 private:
  DigestForm form_;
  std::int32_t n_groups_;
  std::int32_t rank_;
  std::int32_t in_dim_;
  std::int32_t n_slots_ = 0;
  std::vector<Layer> layers_;
  std::vector<DeviceBuffer> memory_;
};

}  // namespace keyhole::cuda
