#include "engine/selection/run_scores.h"

#include <algorithm>
#include <limits>

namespace keyhole {
namespace {

void AppendNone(std::int32_t count, std::vector<float>& scores) {
  scores.insert(scores.end(), count, -std::numeric_limits<float>::infinity());
}

}  // namespace

void WidenRuns(const Candidates& candidates,
               std::span<const float> scores,
               RowRange middle,
               std::int32_t reach,
               RunScores& out) {
  out.scores.clear();
  out.borders.clear();
  out.first_rows.clear();
  const std::span<const std::int32_t> blocks = candidates.blocks;
  const float* score = scores.data();
  std::int32_t end = middle.begin;  // of the rows so far
  for (std::size_t i = 0; i < blocks.size();) {
    std::size_t next = i + 1;
    while (next < blocks.size() && blocks[next] == blocks[next - 1] + 1) ++next;
    const RowRange run = {std::max(blocks[i] * kDigestBlockTokens, middle.begin),
                          std::min((blocks[next - 1] + 1) * kDigestBlockTokens, middle.end)};
    const std::int32_t limit =
        next < blocks.size() ? blocks[next] * kDigestBlockTokens : middle.end;
    const std::int32_t from = run.begin - std::min(reach, run.begin - end);
    if (from > end || out.scores.empty()) {
      if (!out.scores.empty()) out.borders.push_back(static_cast<std::int32_t>(out.scores.size()));
      out.first_rows.push_back(from);
    }
    AppendNone(run.begin - from, out.scores);
    out.scores.insert(out.scores.end(), score, score + run.size());
    score += run.size();
    end = run.end + std::min(reach, limit - run.end);
    AppendNone(end - run.end, out.scores);
    i = next;
  }
}

void PlacesToRows(const RunScores& runs, std::span<std::int32_t> places) {
  std::size_t run = 0;
  std::int32_t shift = runs.first_rows.empty() ? 0 : runs.first_rows.front();
  for (std::int32_t& place : places) {
    for (; run < runs.borders.size() && place >= runs.borders[run]; ++run) {
      shift = runs.first_rows[run + 1] - runs.borders[run];
    }
    place += shift;
  }
}

}  // namespace keyhole
