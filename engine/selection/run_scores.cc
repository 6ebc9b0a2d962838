#include "engine/selection/run_scores.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace keyhole {
namespace {

void Append(std::int32_t from, std::int32_t to, RunScores& out) {
  const std::size_t at = out.rows.size();
  out.rows.resize(at + static_cast<std::size_t>(to - from));
  std::iota(out.rows.begin() + static_cast<std::ptrdiff_t>(at), out.rows.end(), from);
  out.scores.resize(out.rows.size(), -std::numeric_limits<float>::infinity());
}

}  // namespace

void WidenRuns(const Candidates& candidates,
               std::span<const float> scores,
               RowRange middle,
               std::int32_t reach,
               RunScores& out) {
  out.rows.clear();
  out.scores.clear();
  out.borders.clear();
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
    if (from > end && !out.rows.empty()) {
      out.borders.push_back(static_cast<std::int32_t>(out.rows.size()));
    }
    Append(from, run.begin, out);
    Append(run.begin, run.end, out);
    std::copy_n(score, run.size(), out.scores.end() - run.size());
    score += run.size();
    end = run.end + std::min(reach, limit - run.end);
    Append(run.end, end, out);
    i = next;
  }
}

}  // namespace keyhole
