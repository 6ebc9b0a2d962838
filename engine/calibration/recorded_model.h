// A model that runs over a text with full attention and shows its queries and keys.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/calibration/activation_sink.h"
#include "engine/device/device.h"
#include "engine/engine_config.h"
#include "engine/kv/host_store.h"
#include "engine/model/model.h"
#include "engine/model/weight_source.h"

namespace keyhole {

struct RecordedModelSettings {
  std::shared_ptr<const WeightSource> source;
  WeightMode weights = WeightMode::kAuto;
  Device* device = nullptr;                   // outlives the model
  std::int32_t max_segment = 0;               // tokens
  std::function<void(double done)> progress;  // of loading
};

// Native positions, f32 pages. Thread: one owner.
class RecordedModel {
 public:
  // Errors: those of LoadModel.
  static absl::StatusOr<std::unique_ptr<RecordedModel>> Load(RecordedModelSettings settings);

  // Who sees the following segments.
  void SetSinks(std::vector<ActivationSink*> sinks) { tap_.sinks = std::move(sinks); }

  // Runs a sequence of its own over `tokens`, the first of which is `first_token` of the whole
  // text. `on_chunk` gets the number of tokens of each chunk. Errors: those of the model.
  absl::Status Read(std::span<const TokenId> tokens,
                    std::int64_t first_token,
                    const std::function<void(std::int32_t)>& on_chunk);

 private:
  explicit RecordedModel(std::unique_ptr<HostStore> store) : store_(std::move(store)) {}

  absl::Status Step(std::span<const TokenId> tokens, std::int32_t first, std::int32_t count);

  std::unique_ptr<HostStore> store_;
  ActivationTap tap_;
  std::unique_ptr<Model> model_;
  std::vector<PageId> pages_;
  RequestId id_ = 0;
};

}  // namespace keyhole
