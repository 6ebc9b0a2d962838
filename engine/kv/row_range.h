// A run of token positions of one sequence. Plain data.
#pragma once

#include <cstdint>

namespace keyhole {

struct RowRange {
  std::int32_t begin = 0;
  std::int32_t end = 0;

  std::int32_t size() const { return end - begin; }
  bool empty() const { return end <= begin; }
  bool operator==(const RowRange&) const = default;
};

}  // namespace keyhole
