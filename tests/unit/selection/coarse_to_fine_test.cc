#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "tests/support/policy_harness.h"
#include "tests/unit/selection/selection_reference.h"

namespace keyhole {
namespace {

using testing::ElementsAreArray;

constexpr std::int32_t kBlock = kDigestBlockTokens;
constexpr std::int32_t kCoarseDims = PolicyHarness::kRank;
constexpr SelectionSizes kSizes = {.initial = 8, .local = 32, .selected = 12};
constexpr std::int32_t kGroup = PolicyHarness::kHeads / PolicyHarness::kKvHeads;

// The vote over some candidates, each of which has a logit for every head of a probe.
Vector Vote(const std::vector<Vector>& logits) {
  Vector votes(logits[0].size());
  for (const Vector& of_head : logits) {
    const double top = *std::max_element(of_head.begin(), of_head.end());
    double sum = 0;
    for (const double l : of_head) sum += std::exp(l - top);
    for (std::size_t j = 0; j < votes.size(); ++j) votes[j] += std::exp(of_head[j] - top) / sum;
  }
  return votes;
}

using Codes = std::vector<Vector>;  // by head

Codes CodesOf(const Vector& probe, const DigestMaps& maps) {
  Codes codes;
  for (std::int32_t h = 0; h < PolicyHarness::kHeads; ++h) {
    codes.push_back(QueryCodes(Mapped(maps.layers[0].query, h / kGroup, Head(probe, h))));
  }
  return codes;
}

// Logits [heads][rows], over whole codes of keys or their upper four bits.
std::vector<Vector> LogitsOf(const PolicyCase& c,
                             const Codes& codes,
                             const DigestMaps& maps,
                             std::int32_t n_rows,
                             bool coarse) {
  std::vector<Vector> logits(PolicyHarness::kHeads);
  for (std::int32_t h = 0; h < PolicyHarness::kHeads; ++h) {
    for (std::int32_t row = 0; row < n_rows; ++row) {
      const Vector key = Head(KeyAt(c.id, row), h / kGroup);
      Vector k = KeyCodes(Mapped(maps.layers[0].key, h / kGroup, key));
      for (double& code : k) code = coarse ? std::floor(code / 16) * 16 : code;
      logits[h].push_back(Dot(codes[h], k) /
                          std::sqrt(static_cast<double>(PolicyHarness::kHeadDim)));
    }
  }
  return logits;
}

Vector Larger(const Vector& a, const Vector& b) {
  if (a.empty()) return b;
  Vector out;
  for (std::size_t i = 0; i < a.size(); ++i) out.push_back(std::max(a[i], b[i]));
  return out;
}

std::vector<std::int32_t> Best(const Vector& scores, std::size_t n) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(
      order.begin(), order.end(), [&](auto a, auto b) { return scores[a] > scores[b]; });
  order.resize(n);
  std::sort(order.begin(), order.end());
  return order;
}

// Blocks ranked by the vote of their best rows over coarse codes; rows of the best ones, and of the
// blocks at the ends that are not whole, by the vote among them over whole codes.
std::vector<std::int32_t> ExpectedRows(const PolicyCase& c,
                                       RowRange middle,
                                       const DigestMaps& maps) {
  const std::int32_t first = (middle.begin + kBlock - 1) / kBlock;
  const std::int32_t end = middle.end / kBlock;
  std::vector<Codes> probes;
  for (const Vector& probe : ReferenceProbes(c, PolicyHarness::kProbes)) {
    probes.push_back(CodesOf(probe, maps));
  }
  Vector ranks;
  for (const Codes& probe : probes) {
    std::vector<Vector> tops;
    for (const Vector& logits : LogitsOf(c, probe, maps, middle.end, true)) {
      Vector& of_head = tops.emplace_back();
      for (std::int32_t block = first; block < end; ++block) {
        const auto at = logits.begin() + block * kBlock;
        of_head.push_back(*std::max_element(at, at + kBlock));
      }
    }
    ranks = Larger(ranks, Vote(tops));
  }
  std::vector<std::int32_t> rows;
  const auto add = [&](std::int32_t block) {
    for (std::int32_t row = block * kBlock; row < (block + 1) * kBlock; ++row) {
      if (row >= middle.begin && row < middle.end) rows.push_back(row);
    }
  };
  if (first * kBlock > middle.begin) add(first - 1);
  for (const std::int32_t i : Best(ranks, PolicyHarness::kFineRows / kBlock)) add(first + i);
  add(end);

  Vector scores;
  for (const Codes& probe : probes) {
    std::vector<Vector> listed;
    for (const Vector& logits : LogitsOf(c, probe, maps, middle.end, false)) {
      Vector& of_head = listed.emplace_back();
      for (const std::int32_t row : rows) of_head.push_back(logits[row]);
    }
    scores = Larger(scores, Vote(listed));
  }
  // Neighbours share a score, whether they were scored or not.
  Vector pooled(middle.size(), -1);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::int32_t d = -PolicyHarness::kProximity; d <= PolicyHarness::kProximity; ++d) {
      const std::int32_t at = rows[i] + d - middle.begin;
      if (at < 0 || at >= middle.size()) continue;
      pooled[at] = std::max(pooled[at], scores[i]);
    }
  }
  std::vector<std::int32_t> best = Best(pooled, kSizes.selected);
  for (std::int32_t& row : best) row += middle.begin;
  return best;
}

TEST(CoarseToFineTest, ChoosesWhatTheFormulasChoose) {
  PolicyHarness harness("esa", PositionMode::kRectified, kCoarseDims);
  Device device(2);
  RequestId id = 1;
  for (const std::int32_t past : {400, 407, 801}) {
    for (const std::int32_t q_len : {1, 4, 10}) {
      const PolicyCase c(id++, past, q_len, kSizes);
      StepSelectionStats stats;
      const Selection selection = harness.Select(device, c, &stats).value();
      EXPECT_THAT(selection.selected,
                  ElementsAreArray(ExpectedRows(c, selection.middle, harness.maps())))
          << past << " " << q_len;
      EXPECT_LE(stats.layers[0].scored, PolicyHarness::kFineRows + 2 * kBlock);
      EXPECT_EQ(stats.layers[0].candidates, selection.middle.size());
    }
  }
}

TEST(CoarseToFineTest, FewCandidatesAreAllScored) {
  PolicyHarness coarse("esa", PositionMode::kRectified, kCoarseDims);
  PolicyHarness fine("esa");
  Device device(1);
  for (const std::int32_t past : {100, 40 + 2 * PolicyHarness::kFineRows - 1}) {
    const PolicyCase c(1, past, 1, kSizes);
    EXPECT_EQ(coarse.Select(device, c), fine.Select(device, c)) << past;
  }
}

// A shift takes every query of a chunk and has no softmax to cut short: it is always fine.
TEST(CoarseToFineTest, OtherRulesScoreEveryCandidate) {
  Device device(1);
  for (const char* policy : {"esa-paper", "esa-individual", "esa-exact"}) {
    PolicyHarness coarse(policy, PositionMode::kRectified, kCoarseDims);
    PolicyHarness fine(policy);
    const PolicyCase c(1, 801, 1, kSizes);
    EXPECT_EQ(coarse.Select(device, c), fine.Select(device, c)) << policy;
  }
}

}  // namespace
}  // namespace keyhole
