#include "engine/attention/cuda/device_digest_maps.h"

#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"

namespace keyhole::cuda {

DeviceDigestMaps::DeviceDigestMaps(const Stream& stream, const DigestMaps& maps)
    : form_(maps.form), n_groups_(maps.n_groups), rank_(maps.rank), in_dim_(maps.in_dim) {
  const auto copy = [&](const std::vector<float>& values) {
    absl::StatusOr<DeviceBuffer> buffer =
        DeviceBuffer::Allocate(stream, values.size() * sizeof(float));
    ThrowIfFailed(buffer.status());
    ThrowIfFailed(CopyAsync(stream, buffer->data(), values.data(), buffer->size()));
    memory_.push_back(*std::move(buffer));
    return memory_.back().data<float>();
  };
  for (const LayerDigestMaps& layer : maps.layers) {
    Layer& made = layers_.emplace_back();
    if (!layer.selects) continue;
    made = {copy(layer.query), copy(layer.key), n_slots_++};
  }
  ThrowIfFailed(stream.Synchronize());
}

}  // namespace keyhole::cuda
