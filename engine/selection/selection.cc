#include "engine/selection/selection.h"

#include <algorithm>

namespace keyhole {

Selection Partition(std::int32_t past, const SelectionSizes& sizes) {
  Selection selection;
  selection.local = {std::max(0, past - sizes.local), past};
  selection.initial = {0, std::min(sizes.initial, selection.local.begin)};
  selection.middle = {selection.initial.end, selection.local.begin};
  return selection;
}

}  // namespace keyhole
