// A model and all that it needs in the accelerator's and the host's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/attention/cuda/device_attention.h"
#include "engine/attention/cuda/device_digest_maps.h"
#include "engine/kv/host_store.h"
#include "engine/kv/resident_kv.h"
#include "engine/model/cuda/device_llama.h"
#include "engine/model/cuda/device_weights.h"
#include "engine/model/model_shard.h"
#include "engine/model/rope_table.h"
#include "engine/parallel/device_collectives.h"
#include "engine/selection/digest_maps.h"

namespace keyhole::cuda {

struct DeviceModelSettings {
  KvType kv = KvType::kBF16;
  std::int32_t page_size = 64;
  std::int32_t n_pages = 0;
  std::int32_t n_sequences = 1;  // that run at once
  Residency residency = Residency::kAuto;
  std::size_t device_bytes = 0;  // for rows; see ResidencySettings
  AttentionSettings attention = {};
  DeviceSelection selection = {};
  DeviceCollectives* ranks = nullptr;  // null where the shard is the whole
};

// Owner: the model executor. Thread: executor only. REQUIRES: the stream outlives it.
class DeviceModel {
 public:
  // `weights`, those of the shard, and the collectives outlive the model. `maps` may be null where
  // the policy scores nothing; `rope` covers every position and distance. Errors: those of
  // ResidentKv::Create; FAILED_PRECONDITION without CUDA; others of the device.
  static absl::StatusOr<std::unique_ptr<DeviceModel>> Create(const Stream& stream,
                                                             const ModelShard& shard,
                                                             const DeviceWeights& weights,
                                                             const DigestMaps* maps,
                                                             const RopeTable& rope,
                                                             const DeviceModelSettings& settings);
  ~DeviceModel();

  DeviceLlama& llama() { return *llama_; }
  DeviceAttention& attention() { return *attention_; }
  ResidentKv& kv() { return *kv_; }
  std::uint8_t* digests() const { return digests_.data<std::uint8_t>(); }
  std::size_t digest_bytes() const { return digests_.size(); }

 private:
  DeviceModel(const Stream& stream, DeviceCollectives* ranks) : stream_(stream), ranks_(ranks) {}
  absl::Status MakeKv(const Stream& stream,
                      const ModelConfig& config,
                      std::int64_t n_layers,
                      const DeviceModelSettings& settings);
  absl::StatusOr<RopeRows> CopyRope(const Stream& stream, const RopeTable& rope);

  const Stream& stream_;
  DeviceCollectives* ranks_;
  std::unique_ptr<HostStore> host_;
  std::unique_ptr<ResidentKv> kv_;
  std::optional<DeviceDigestMaps> maps_;
  DeviceBuffer digests_;
  DeviceBuffer rope_;
  std::optional<DeviceAttention> attention_;
  std::optional<DeviceLlama> llama_;
};

}  // namespace keyhole::cuda
