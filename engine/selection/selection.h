// Which rows one sequence attends to in one layer of one step. Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kv/row_range.h"

namespace keyhole {

// The `past` tokens before the current chunk in three disjoint, ascending parts:
//   initial [0, initial.end), chosen rows of the middle, local [local.begin, past).
struct Selection {
  RowRange initial;
  RowRange middle;                     // [initial.end, local.begin): the candidates
  bool all_of_middle = false;          // every candidate is chosen
  std::vector<std::int32_t> selected;  // ascending, unique; empty when all_of_middle
  RowRange local;

  std::int32_t n_selected() const {
    return all_of_middle ? middle.size() : static_cast<std::int32_t>(selected.size());
  }
  bool operator==(const Selection&) const = default;
};

// Sizes of the parts. Source: ESA section 3, arXiv 2502.14477.
struct SelectionSizes {
  std::int32_t initial = 128;
  std::int32_t local = 4096;
  std::int32_t selected = 512;  // budget of the middle
};

// The parts that need no scores, and nothing chosen of the middle. The local part comes first where
// the past is short.
Selection Partition(std::int32_t past, const SelectionSizes& sizes);

}  // namespace keyhole
