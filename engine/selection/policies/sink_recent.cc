#include "engine/selection/policies/sink_recent.h"

namespace keyhole {

absl::StatusOr<Selection> SinkRecentPolicy::Select(Device&, const SelectionContext& context) {
  return Partition(context.past, context.sizes);
}

}  // namespace keyhole
