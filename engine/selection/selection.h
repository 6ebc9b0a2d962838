// Which rows one sequence attends to in one layer of one step. Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kv/row_range.h"

namespace keyhole {

// The partition of the `past` tokens before the current chunk. The three parts are disjoint and
// ascending:
//   initial [0, initial.end), selected: chosen rows in between, local [local.begin, past).
// A run of chosen rows that has no gap may be given as a range instead (policy `full`: all of the
// middle).
struct Selection {
  RowRange initial;
  RowRange middle;  // used when all_of_middle
  bool all_of_middle = false;
  std::vector<std::int32_t> selected;  // ascending, unique; empty when all_of_middle
  RowRange local;

  std::int32_t n_selected() const {
    return all_of_middle ? middle.size() : static_cast<std::int32_t>(selected.size());
  }
};

// Sizes of the parts. Source: ESA section 3, arXiv 2502.14477.
struct SelectionSizes {
  std::int32_t initial = 128;
  std::int32_t local = 4096;
  std::int32_t selected = 512;
};

// The parts that need no scores: initial and local rows; the middle is what is left.
Selection Partition(std::int32_t past, const SelectionSizes& sizes);

}  // namespace keyhole
