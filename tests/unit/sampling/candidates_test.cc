#include "engine/sampling/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <vector>

namespace keyhole {
namespace {

using ::testing::ElementsAre;

// A direct transcription: sort everything, then drop from the end, filter by filter.
std::set<TokenId> NaiveFilter(const std::vector<float>& weights, const SamplingParams& params) {
  std::vector<TokenId> ids(weights.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(
      ids.begin(), ids.end(), [&](TokenId a, TokenId b) { return weights[a] > weights[b]; });
  if (params.top_k > 0 && params.top_k < ids.size()) ids.resize(params.top_k);
  double total = 0;
  for (const TokenId id : ids) total += weights[id];
  std::set<TokenId> kept;
  double before = 0;
  for (const TokenId id : ids) {
    const bool in_nucleus = params.top_p >= 1 || before < params.top_p * total;
    if (in_nucleus && weights[id] > 0 && weights[id] >= params.min_p) kept.insert(id);
    before += weights[id];
  }
  return kept;
}

std::vector<float> RandomWeights(int n, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = std::round(normal(random) * 8) / 8;  // ties are common
  const float max = *std::max_element(logits.begin(), logits.end());
  for (float& logit : logits) logit = std::exp(logit - max);
  return logits;
}

double Sum(const std::vector<float>& weights) {
  return std::accumulate(weights.begin(), weights.end(), 0.0);
}

std::vector<TokenId> Ids(const std::vector<Candidate>& candidates) {
  std::vector<TokenId> ids;
  for (const Candidate& candidate : candidates) ids.push_back(candidate.token);
  return ids;
}

TEST(FilterCandidatesTest, EveryCombinationEqualsTheNaiveFilter) {
  std::mt19937 random(7);
  for (const int n : {1, 2, 10, 300, 5000}) {
    for (const float spread : {0.1F, 1.0F, 4.0F}) {
      const std::vector<float> weights = RandomWeights(n, spread, random);
      for (const std::int32_t top_k : {0, 1, 3, 50, 100000}) {
        for (const float top_p : {1.0F, 0.999F, 0.9F, 0.3F, 1e-6F}) {
          for (const float min_p : {0.0F, 0.05F, 0.9F}) {
            SamplingParams params;
            params.top_k = top_k;
            params.top_p = top_p;
            params.min_p = min_p;
            const auto ids = Ids(FilterCandidates(weights, Sum(weights), params));
            EXPECT_EQ(std::set<TokenId>(ids.begin(), ids.end()), NaiveFilter(weights, params))
                << n << " " << spread << " " << top_k << " " << top_p << " " << min_p;
          }
        }
      }
    }
  }
}

// Of 1, 0.5, 0.4, 0.1: the two best renormalised are 2/3 and 1/3, so top_p 0.6 leaves one of them;
// the nucleus of all four would have needed two.
TEST(FilterCandidatesTest, NucleusIsTakenOfWhatTopKLeft) {
  const std::vector<float> weights = {0.1F, 0.5F, 1, 0.4F};
  SamplingParams params;
  params.top_p = 0.6F;
  EXPECT_THAT(Ids(FilterCandidates(weights, Sum(weights), params)), ElementsAre(2, 1));
  params.top_k = 2;
  EXPECT_THAT(Ids(FilterCandidates(weights, Sum(weights), params)), ElementsAre(2));
}

// Were min_p first, it would leave 1 and 0.5, and top_p 0.7 of those needs both.
TEST(FilterCandidatesTest, MinPComesAfterTheNucleus) {
  const std::vector<float> weights = {1, 0.5F, 0.1F, 0.1F, 0.1F, 0.1F, 0.1F};
  SamplingParams params;
  params.top_p = 0.7F;
  params.min_p = 0.05F;
  EXPECT_THAT(Ids(FilterCandidates(weights, Sum(weights), params)), ElementsAre(0, 1));
  params.top_p = 0.45F;
  params.min_p = 0.4F;
  EXPECT_THAT(Ids(FilterCandidates(weights, Sum(weights), params)), ElementsAre(0));
}

TEST(FilterCandidatesTest, TiesGoToTheSmallerId) {
  const std::vector<float> weights = {0.5F, 1, 1, 0.5F, 1};
  SamplingParams params;
  params.top_k = 4;
  EXPECT_THAT(Ids(FilterCandidates(weights, Sum(weights), params)), ElementsAre(1, 2, 4, 0));
}

TEST(PickCandidateTest, WalksTheCumulativeWeights) {
  const std::vector<Candidate> candidates = {{7, 1.0F}, {3, 0.5F}, {9, 0.5F}};
  EXPECT_EQ(PickCandidate(candidates, 0), 7);
  EXPECT_EQ(PickCandidate(candidates, 0.49), 7);
  EXPECT_EQ(PickCandidate(candidates, 0.5), 3);
  EXPECT_EQ(PickCandidate(candidates, 0.75), 9);
  EXPECT_EQ(PickCandidate(candidates, 0.999999), 9);
}

}  // namespace
}  // namespace keyhole
