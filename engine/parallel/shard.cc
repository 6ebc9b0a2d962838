#include "engine/parallel/shard.h"

#include <algorithm>

namespace keyhole {

ShardRange Split(std::int64_t total, std::int64_t unit, const Shard& shard) {
  const std::int64_t n_units = (total + unit - 1) / unit;
  const std::int64_t begin = std::min(total, n_units * shard.rank / shard.size * unit);
  const std::int64_t end = std::min(total, n_units * (shard.rank + 1) / shard.size * unit);
  return {begin, end - begin};
}

}  // namespace keyhole
