// A policy with gaps whose rows are easy to name: every third of the middle.
#pragma once

#include "engine/selection/selection_policy.h"

namespace keyhole {

class EveryThirdPolicy final : public SelectionPolicy {
 public:
  static bool Chooses(std::int32_t row, const RowRange& middle) {
    return (row - middle.begin) % 3 == 0;
  }

  PolicyTraits traits() const override { return {"every_third", MiddleRule::kEverything}; }

  absl::StatusOr<Selection> Select(Device&, const SelectionContext& context) override {
    Selection selection = Partition(context.past, context.sizes);
    for (std::int32_t row = selection.middle.begin; row < selection.middle.end; ++row) {
      if (Chooses(row, selection.middle)) selection.selected.push_back(row);
    }
    return selection;
  }

  void OnSequenceEnd(RequestId) override {}
};

}  // namespace keyhole
