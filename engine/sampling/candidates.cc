#include "engine/sampling/candidates.h"

#include <algorithm>
#include <cstddef>

namespace keyhole {
namespace {

bool Better(const Candidate& a, const Candidate& b) {
  return a.weight > b.weight || (a.weight == b.weight && a.token < b.token);
}

double SumOfWeights(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += candidate.weight;
  return sum;
}

std::vector<Candidate> AtLeast(std::span<const float> weights, float smallest) {
  std::vector<Candidate> result;
  result.reserve(smallest > 0 ? 0 : weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0 && weights[i] >= smallest) {
      result.push_back({static_cast<TokenId>(i), weights[i]});
    }
  }
  return result;
}

// Returns the smallest weight that was kept. REQUIRES: 0 < count <= candidates.size().
float KeepBest(std::size_t count, std::vector<Candidate>& candidates) {
  std::nth_element(candidates.begin(), candidates.begin() + count - 1, candidates.end(), Better);
  candidates.resize(count);
  return candidates.back().weight;
}

// The best `count` tokens in any order. Most of the vocabulary falls to one comparison with the
// worst of the best so far.
std::vector<Candidate> BestOf(std::span<const float> weights, std::size_t count) {
  std::vector<Candidate> best;
  float worst = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= worst) continue;
    best.push_back({static_cast<TokenId>(i), weights[i]});
    if (best.size() == 2 * count) worst = KeepBest(count, best);
  }
  if (best.size() > count) KeepBest(count, best);
  return best;
}

// Sorts `candidates` and keeps the fewest best ones whose weights reach `bound`. False, if all
// together do not.
bool KeepNucleus(double bound, std::vector<Candidate>& candidates) {
  std::sort(candidates.begin(), candidates.end(), Better);
  double sum = 0;
  std::size_t count = 0;
  while (count < candidates.size() && sum < bound) sum += candidates[count++].weight;
  candidates.resize(std::max<std::size_t>(count, 1));
  return sum >= bound;
}

// A nucleus is small as a rule: looks for it among few tokens first.
std::vector<Candidate> Nucleus(std::span<const float> weights, double bound) {
  for (std::size_t count = 256;; count *= 8) {
    std::vector<Candidate> best = BestOf(weights, count);
    if (KeepNucleus(bound, best) || count >= weights.size()) return best;
  }
}

}  // namespace

std::vector<Candidate> FilterCandidates(std::span<const float> weights,
                                        double weight_sum,
                                        const SamplingParams& params) {
  const bool nucleus = params.top_p < 1;
  if (params.top_k <= 0 && !nucleus) return AtLeast(weights, params.min_p);
  std::vector<Candidate> candidates;
  if (params.top_k > 0) {
    candidates = BestOf(weights, params.top_k);
    const double total = SumOfWeights(candidates);
    KeepNucleus(nucleus ? params.top_p * total : 2 * total, candidates);
  } else {
    candidates = Nucleus(weights, params.top_p * weight_sum);
  }
  // The best weight is 1, so that min_p is the bound itself.
  std::erase_if(candidates, [&](const Candidate& c) { return c.weight < params.min_p; });
  return candidates;
}

TokenId PickCandidate(std::span<const Candidate> candidates, double uniform) {
  const double target = uniform * SumOfWeights(candidates);
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    sum += candidate.weight;
    if (target < sum) return candidate.token;
  }
  return candidates.back().token;
}

}  // namespace keyhole
