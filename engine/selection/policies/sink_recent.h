// The first and the last tokens only. Source: StreamingLLM, arXiv 2309.17453.
#pragma once

#include "engine/selection/selection_policy.h"

namespace keyhole {

constexpr PolicyTraits kSinkRecentTraits = {.name = "sink_recent", .middle = MiddleRule::kNothing};

class SinkRecentPolicy final : public SelectionPolicy {
 public:
  PolicyTraits traits() const override { return kSinkRecentTraits; }
  absl::StatusOr<Selection> Select(Device& device, const SelectionContext& context) override;
  void OnSequenceEnd(RequestId) override {}
};

}  // namespace keyhole
