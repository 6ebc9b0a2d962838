// Refines maps by gradient descent, as ESA trains its own.
#pragma once

#include <cstdint>
#include <span>

#include "engine/calibration/closed_form.h"

namespace keyhole {

struct RefineSettings {
  double learning_rate = 5e-4;
  std::int64_t batch = 128;  // pairs
  std::int32_t epochs = 10;
  std::int64_t max_pairs = 50'000;  // of an epoch
  std::uint64_t seed = 1;
};

// What one group's map is refined on.
struct RefineRows {
  std::span<const float> queries;  // [n_queries, dim], turned to the query distance
  std::span<const float> keys;     // [n_keys, dim]
};

// Adam on the mean of (q.k - (W_q q).(W_k k))^2 over random pairs, in f32; the same result for the
// same inputs. Rows are brought to unit size first, so that the learning rate means the same for
// every model. Maps that end with a larger error over `rows` than they began with are left as they
// were. Returns the relative errors before and after. REQUIRES: there are queries and keys.
// Source: ESA section 3.3 (arXiv 2502.14477).
struct RefineErrors {
  double before = 0;  // root of the mean square, against that of q.k
  double after = 0;
};
RefineErrors Refine(const RefineRows& rows,
                    const RefineSettings& settings,
                    std::int32_t group,
                    FactorMaps& maps);

}  // namespace keyhole
