// How a chunk's queries are shared out among probes. Pure arithmetic.
#pragma once

#include <cstdint>

namespace keyhole {

// Queries of each probe but the last, which may have fewer. `probes`: at most so many, 0 for one
// of every query; chunks of at most `single_queries` have one of every query too.
constexpr std::int32_t ProbeSpan(std::int32_t q_len,
                                 std::int32_t probes,
                                 std::int32_t single_queries) {
  const bool means = probes > 0 && q_len > single_queries;
  return means ? (q_len + probes - 1) / probes : 1;
}

constexpr std::int32_t ProbeCount(std::int32_t q_len, std::int32_t span) {
  return (q_len + span - 1) / span;
}

}  // namespace keyhole
