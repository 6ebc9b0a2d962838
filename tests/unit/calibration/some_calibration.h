// A calibration of no model in particular: 3 layers, 2 KV heads of 8.
#pragma once

#include "engine/calibration/calibration.h"
#include "tests/unit/calibration/random_rows.h"

namespace keyhole {

inline CalibratedForm SomeForm(DigestForm form,
                               std::int32_t n_groups,
                               std::int32_t rank,
                               std::int32_t dim) {
  CalibratedForm some;
  some.maps.form = form;
  some.maps.n_groups = n_groups;
  some.maps.rank = rank;
  some.maps.in_dim = dim;
  some.maps.query_distance = 1024;
  for (std::uint32_t layer = 0; layer < 3; ++layer) {
    some.maps.layers.push_back({.query = RandomRows(n_groups * rank, dim, 10 + layer),
                                .key = RandomRows(n_groups * rank, dim, 20 + layer),
                                .selects = layer != 1});
    some.quality.push_back({.score_error = 0.1 + layer,
                            .overlap = 0.2 + layer,
                            .mass = 0.3 + layer,
                            .needed_mass = 0.4 + layer,
                            .peak = 0.5 + layer});
  }
  return some;
}

inline Calibration SomeCalibration() {
  Calibration calibration;
  calibration.model_hash = "0123456789abcdef";
  calibration.rope = "theta=10000 factors=0 scaling=none";
  calibration.per_kv_head = SomeForm(DigestForm::kPerKvHead, 2, 4, 8);
  calibration.concatenated = SomeForm(DigestForm::kConcatenated, 1, 8, 16);
  return calibration;
}

}  // namespace keyhole
