// The tokens that filters leave, with their weights.
#pragma once

#include <span>
#include <vector>

#include "engine/request/request.h"
#include "engine/types.h"

namespace keyhole {

struct Candidate {
  TokenId token = 0;
  float weight = 0;  // exp of the logit less the largest, after temperature; not normalised
};

// Applies top_k, then top_p over what is left, then min_p relative to the best. Never empty; the
// best token stays in any case. Of equal weights the smaller id counts as the better. Order: best
// first where top_k or top_p is on, else by id. `weights` holds one weight per token of the
// vocabulary, the best of them 1; a weight of 0 is never a candidate.
std::vector<Candidate> FilterCandidates(std::span<const float> weights,
                                        double weight_sum,
                                        const SamplingParams& params);

// The candidate at `uniform` in [0, 1) of the cumulative weights. REQUIRES: candidates is not
// empty.
TokenId PickCandidate(std::span<const Candidate> candidates, double uniform);

}  // namespace keyhole
