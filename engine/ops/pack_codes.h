// Codes of a query as the kernels of selection take them.
#pragma once

#include <cstdint>
#include <cstring>

#include "engine/kv/digest_layout.h"

namespace keyhole {

// The first `n_dims` codes of one query, into words `stride` apart: see ScoreChunk::codes. Returns
// what its products start from, since digests are kept with a bias.
inline std::int32_t PackCodes(const std::int8_t* codes,
                              std::int32_t n_dims,
                              std::int32_t words,
                              std::int32_t stride,
                              std::int32_t* out) {
  const auto pair = [](std::int8_t low, std::int8_t high) {
    return static_cast<std::int32_t>((static_cast<std::uint32_t>(high) << 16) |
                                     (static_cast<std::uint32_t>(low) & 0xFFFF));
  };
  std::int32_t sum = 0;
  for (std::int32_t c = 0; c < n_dims; c += 4, out += words * stride) {
    for (std::int32_t j = c; j < c + 4; ++j) sum += codes[j];
    if (words == 1) {
      std::memcpy(out, codes + c, 4);
    } else {
      out[0] = pair(codes[c], codes[c + 2]);
      out[stride] = pair(codes[c + 1], codes[c + 3]);
    }
  }
  return -kDigestBias * sum;
}

}  // namespace keyhole
