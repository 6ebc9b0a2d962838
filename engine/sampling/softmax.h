// Sums of exponentials over a vocabulary.
#pragma once

#include <span>

namespace keyhole {

// log(sum(exp(logits))), exponentials in f32 and sums in f64; NaN if any logit is not finite.
// REQUIRES: logits is not empty.
double LogSumExp(std::span<const float> logits);

// weights[i] = exp((logits[i] - max) * inverse_temperature), 0 for a logit of -infinity. Returns
// their sum. REQUIRES: same sizes; max is the largest logit and finite.
double ExpWeights(std::span<const float> logits,
                  float max,
                  double inverse_temperature,
                  std::span<float> weights);

}  // namespace keyhole
