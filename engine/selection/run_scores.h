// Scores of some of the middle's rows, with the neighbours that they will share them with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/selection/row_scorer.h"

namespace keyhole {

// Rows ascend; where a row is not the next one's neighbour there is a border.
struct RunScores {
  std::vector<float> scores;
  std::vector<std::int32_t> borders;     // places, see MaxPool
  std::vector<std::int32_t> first_rows;  // before the first border, and behind each
};

// Refills `out` with the candidates, which have blocks, and `reach` rows more on both sides of each
// run of them, whose own scores are minus infinity. REQUIRES: `scores` are the candidates'.
void WidenRuns(const Candidates& candidates,
               std::span<const float> scores,
               RowRange middle,
               std::int32_t reach,
               RunScores& out);

// Replaces places among the scores, ascending, by their rows.
void PlacesToRows(const RunScores& runs, std::span<std::int32_t> places);

}  // namespace keyhole
