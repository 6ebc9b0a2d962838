// Sees the queries and keys of a model that runs over a text.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/device/device.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// Rows of neighbouring tokens in one layer, un-rotated.
struct ActivationRows {
  std::int32_t layer = 0;
  std::int64_t token = 0;  // of the first row, counted over the whole text
  std::int32_t n_tokens = 0;
  const float* rows = nullptr;  // [n_tokens, n_heads or n_kv_heads, head_dim]
};

// Of each layer and chunk it gets the queries, then the keys. Thread: executor only.
class ActivationSink {
 public:
  virtual ~ActivationSink() = default;
  virtual void OnQueries(Device& device, const ActivationRows& queries) = 0;
  virtual void OnKeys(Device& device, const ActivationRows& keys) = 0;
};

// Who listens at the moment.
struct ActivationTap {
  std::int64_t first_token = 0;  // of the running segment, in the whole text
  std::vector<ActivationSink*> sinks;
};

// Full attention that shows what passes to the sinks of a tap. `tap` outlives it.
class RecordingPolicy final : public SelectionPolicy {
 public:
  explicit RecordingPolicy(const ActivationTap* tap) : tap_(tap) {}

  PolicyTraits traits() const override { return {"recording", MiddleRule::kEverything}; }
  absl::StatusOr<Selection> Select(Device& device, const SelectionContext& context) override;
  void OnAppend(Device& device, std::span<const AppendContext> sequences) override;
  void OnSequenceEnd(RequestId) override {}

 private:
  const ActivationTap* tap_;
};

}  // namespace keyhole
