// The k largest of many scores, exactly.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/device/device.h"

namespace keyhole {

// Buffers that calls reuse.
struct TopKWorkspace {
  std::vector<std::uint32_t> counts;
};

// Replaces `rows` by first + j for the k largest scores[j], ascending; ties go to the smaller j.
// All of them where k >= scores.size(). By radix select over the bits of the floats, no sort; the
// same for any number of threads. REQUIRES: k >= 0, no NaN.
void TopK(Device& device,
          std::span<const float> scores,
          std::int32_t k,
          std::int32_t first,
          TopKWorkspace& workspace,
          std::vector<std::int32_t>& rows);

}  // namespace keyhole
