#include "tests/support/recording_policy.h"

namespace keyhole {

absl::StatusOr<Selection> RecordingPolicy::Select(Device& device, const SelectionContext& context) {
  absl::StatusOr<Selection> selection = policy_->Select(device, context);
  if (selection.ok()) {
    records_->push_back({context.id, context.layer, context.past, *selection});
  }
  return selection;
}

}  // namespace keyhole
