// The k largest of many scores, exactly.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/device/device.h"

namespace keyhole {

// Buffers that calls reuse: they grow to the largest call and stay.
struct TopKWorkspace {
  std::vector<float> values;
  std::vector<std::int32_t> rows;
  std::vector<std::int64_t> found;
};

// Replaces `rows` by first + j for the k largest scores[j], ascending; ties go to the smaller j.
// All of them where k >= scores.size(). A bound leaves few candidates, of which halving finds the
// k-th largest: linear in the worst case, the same for any number of threads.
// REQUIRES: k >= 0, no NaN. Throws std::logic_error for a negative k.
void TopK(Device& device,
          std::span<const float> scores,
          std::int32_t k,
          std::int32_t first,
          TopKWorkspace& workspace,
          std::vector<std::int32_t>& rows);

}  // namespace keyhole
