// The first and the last tokens only. Source: StreamingLLM, arXiv 2309.17453.
#pragma once

#include "engine/selection/selection_policy.h"

namespace keyhole {

class SinkRecentPolicy final : public SelectionPolicy {
 public:
  PolicyTraits traits() const override { return {"sink_recent", MiddleRule::kNothing}; }
  absl::StatusOr<Selection> Select(Device& device, const SelectionContext& context) override;
  void OnSequenceEnd(RequestId) override {}
};

}  // namespace keyhole
