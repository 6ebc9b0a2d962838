// Changes to logits that come before temperature and filters: penalties, bias and forbidden tokens.
#pragma once

#include <span>
#include <vector>

#include "engine/sampling/sampler.h"

namespace keyhole {

// Whether AdjustedLogits would differ from the model's logits.
bool NeedsAdjustment(const SampleInput& input);

// In this order: repetition penalty (arXiv 1909.05858: a positive logit is divided, another
// multiplied), frequency and presence penalty, bias; forbidden tokens become -infinity. Ids outside
// the vocabulary are ignored.
std::vector<float> AdjustedLogits(const SampleInput& input);

}  // namespace keyhole
