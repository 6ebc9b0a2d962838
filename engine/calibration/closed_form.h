// Low-rank maps that keep the products of queries and keys, in closed form.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/calibration/moments.h"

namespace keyhole {

// Query and key maps of one form of one layer, [n_groups, rank, dim] each, in f64.
struct FactorMaps {
  std::int32_t n_groups = 0;
  std::int32_t rank = 0;
  std::int32_t dim = 0;
  std::vector<double> query;
  std::vector<double> key;
};

// Minimises E[(q.k - (W_q q).(W_k k))^2] over independent q and k of these moments: the SVD of
// C_q^(1/2) C_k^(1/2), with eigenvalues below 1e-7 of the largest lifted to that. Signs of the
// singular vectors are fixed, so that the result is one. Its rows are in falling order of the
// singular values. REQUIRES: 1 <= rank <= dim. Throws LibTorch's exceptions where a decomposition
// does not converge. Source: ESA section 3.3 (arXiv 2502.14477), solved exactly.
FactorMaps ClosedForm(const FormMoments& moments, std::int32_t rank);

// E[(q.k - (W_q q).(W_k k))^2] for independent q and k of these moments, by group.
std::vector<double> ExpectedError(const FormMoments& moments, const FactorMaps& maps);

}  // namespace keyhole
