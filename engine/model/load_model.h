// Makes a runnable model from a model file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/attention/selective_attention.h"
#include "engine/device/device.h"
#include "engine/engine_config.h"
#include "engine/kv/host_store.h"
#include "engine/model/model.h"
#include "engine/model/rope_table.h"
#include "engine/model/weight_source.h"
#include "engine/parallel/process_group.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

struct ModelParts {
  std::shared_ptr<const WeightSource> source;  // the model keeps it: embeddings stay in the file
  WeightMode weights = WeightMode::kAuto;
  Device* device = nullptr;       // outlives the model
  HostStore* store = nullptr;     // of this rank's KV heads; outlives the model
  ProcessGroup* group = nullptr;  // outlives the model; null: this process has all of it
  std::unique_ptr<SelectionPolicy> policy;
  AttentionSettings attention;
  std::int64_t max_context = 0;           // positions that may occur: [0, max_context)
  std::unique_ptr<const RopeTable> rope;  // of every position and distance; null: of max_context
  std::function<void(double done)> progress;  // may be empty; the share that is loaded, in (0, 1]
};

// Errors: those of WeightSource::Get, ShardModel and PackStack; INVALID_ARGUMENT if the KV layout
// does not fit the model; RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(ModelParts parts);

}  // namespace keyhole
