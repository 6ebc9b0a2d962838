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

std::vector<Candidate> AtLeast(std::span<const float> weights, double smallest) {
  std::vector<Candidate> result;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0 && weights[i] >= smallest) {
      result.push_back({static_cast<TokenId>(i), weights[i]});
    }
  }
  return result;
}

void KeepBest(std::size_t count, std::vector<Candidate>& candidates) {
  if (count >= candidates.size()) return;
  std::nth_element(candidates.begin(), candidates.begin() + count, candidates.end(), Better);
  candidates.resize(count);
}

// The smallest set of best candidates whose weights reach top_p of `total`. Sorts them.
void KeepNucleus(double top_p, double total, std::vector<Candidate>& candidates) {
  std::sort(candidates.begin(), candidates.end(), Better);
  double sum = 0;
  std::size_t count = 0;
  while (count < candidates.size() && sum < top_p * total) sum += candidates[count++].weight;
  candidates.resize(std::max<std::size_t>(count, 1));
}

// All tokens lighter than this together weigh less than 1 - top_p of the sum, so none is in the
// nucleus.
double NucleusBound(std::span<const float> weights, double weight_sum, double top_p) {
  constexpr double kSlack = 1 - 1e-6;  // for the rounding of the sums
  return kSlack * (1 - top_p) * weight_sum / static_cast<double>(weights.size());
}

}  // namespace

std::vector<Candidate> FilterCandidates(std::span<const float> weights,
                                        double weight_sum,
                                        const SamplingParams& params) {
  const bool nucleus = params.top_p < 1;
  std::vector<Candidate> candidates;
  if (params.top_k > 0) {
    candidates = AtLeast(weights, 0);
    KeepBest(params.top_k, candidates);
    if (nucleus) {
      KeepNucleus(params.top_p, SumOfWeights(candidates), candidates);
    } else {
      std::sort(candidates.begin(), candidates.end(), Better);
    }
  } else if (nucleus) {
    candidates = AtLeast(weights, NucleusBound(weights, weight_sum, params.top_p));
    KeepNucleus(params.top_p, weight_sum, candidates);
  } else {
    return AtLeast(weights, params.min_p);
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
