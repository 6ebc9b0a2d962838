// Finds a model's digest maps by running it over a text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/calibration/calibration.h"
#include "engine/engine_config.h"
#include "engine/model/weight_source.h"

namespace keyhole {

struct CalibrationSettings {
  std::shared_ptr<const WeightSource> source;
  WeightMode weights = WeightMode::kAuto;
  std::int32_t threads = 0;            // 0: all cores
  std::string text;                    // UTF-8; empty: the one that is built in
  std::int32_t n_tokens = 16384;       // of the text, at most; the last quarter measures
  std::int32_t rank = 0;               // per KV head; 0: half of head_dim
  std::int32_t concatenated_rank = 0;  // 0: a third of all KV heads' dimensions, at most 64
  std::int32_t query_distance = 0;     // 0: a quarter of the default local part
  bool refine = false;
  std::int64_t moment_bytes = std::int64_t{1} << 30;    // the concatenated form is left out beyond
  std::int64_t sample_bytes = std::int64_t{512} << 20;  // of kept queries and keys
};

// What is under way, and the share of it that is done, in (0, 1].
using CalibrationProgress = std::function<void(std::string_view stage, double done)>;

// The maps, and their figures on the last quarter of the text. `progress` may be empty.
// Thread: the calling one and a pool of its own; it must not be one of another pool's.
// Errors: INVALID_ARGUMENT for a text that is too short and for settings that do not fit the model;
// those of LoadModel; RESOURCE_EXHAUSTED; INTERNAL.
absl::StatusOr<Calibration> Calibrate(const CalibrationSettings& settings,
                                      const CalibrationProgress& progress);

}  // namespace keyhole
