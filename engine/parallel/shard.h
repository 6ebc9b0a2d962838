// Which part of a model's rows, heads and columns a rank of a tensor-parallel group holds.
#pragma once

#include <cstdint>

namespace keyhole {

// One of `size` processes that share a model; rank 0 schedules and serves.
struct Shard {
  std::int32_t rank = 0;
  std::int32_t size = 1;

  bool whole() const { return size == 1; }
  bool is_root() const { return rank == 0; }
};

// `size` neighbouring items.
struct ShardRange {
  std::int64_t begin = 0;
  std::int64_t size = 0;

  std::int64_t end() const { return begin + size; }
  ShardRange operator*(std::int64_t items) const { return {begin * items, size * items}; }
  bool operator==(const ShardRange&) const = default;
};

// Part `shard.rank` of [0, total): in whole units but for the last of all, as even as units allow,
// parts in the order of ranks. Empty where there are fewer units than ranks.
ShardRange Split(std::int64_t total, std::int64_t unit, const Shard& shard);

}  // namespace keyhole
