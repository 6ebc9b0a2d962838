// Every row: full attention.
#pragma once

#include "engine/selection/selection_policy.h"

namespace keyhole {

constexpr PolicyTraits kFullTraits = {.name = "full", .middle = MiddleRule::kEverything};

class FullPolicy final : public SelectionPolicy {
 public:
  PolicyTraits traits() const override { return kFullTraits; }
  absl::StatusOr<Selection> Select(Device& device, const SelectionContext& context) override;
  void OnSequenceEnd(RequestId) override {}
};

}  // namespace keyhole
