// Every row: full attention.
#pragma once

#include "engine/selection/selection_policy.h"

namespace keyhole {

class FullPolicy final : public SelectionPolicy {
 public:
  PolicyTraits traits() const override { return {"full", MiddleRule::kEverything}; }
  absl::StatusOr<Selection> Select(Device& device, const SelectionContext& context) override;
  void OnSequenceEnd(RequestId) override {}
};

}  // namespace keyhole
