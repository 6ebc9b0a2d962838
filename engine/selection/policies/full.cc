#include "engine/selection/policies/full.h"

namespace keyhole {

absl::StatusOr<Selection> FullPolicy::Select(Device&, const SelectionContext& context) {
  Selection selection = Partition(context.past, context.sizes);
  selection.all_of_middle = true;
  return selection;
}

}  // namespace keyhole
