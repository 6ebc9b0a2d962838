// How the rows of a sequence are shared out among blocks. Pure arithmetic.
#pragma once

#include <cstdint>

namespace keyhole::cuda {

constexpr std::int32_t kFewSplitUnit = 128;     // rows: each warp of a block has a turn
constexpr std::int32_t kManySplitUnit = 64;     // rows: a tile
constexpr std::int32_t kManyTileLanes = 64;     // query heads of a tile of queries
constexpr std::int32_t kMultiprocessors = 132;  // of a large GPU
constexpr std::int32_t kWantedBlocks = 4 * kMultiprocessors;

// Of the kernel of one query: query heads of a KV head that a block has, and blocks that a
// multiprocessor has registers for.
constexpr std::int32_t FewHeads(std::int32_t group) { return group == 1 ? 1 : group <= 4 ? 4 : 8; }
constexpr std::int32_t FewResidents(std::int32_t heads) { return heads > 4 ? 2 : 4; }
constexpr std::int32_t FewWanted(std::int32_t heads) {
  return FewResidents(heads) * kMultiprocessors;
}

struct AttendSplits {
  std::int32_t split_rows = 0;
  std::int32_t n_splits = 1;
};

// `n_blocks`: of the sequence, if its rows are not split; `wanted`: at most kWantedBlocks. Depends
// on the sequence's own sizes alone, so that its results do not depend on the batch or the GPU.
constexpr AttendSplits SplitsOf(std::int32_t n_rows,
                                std::int32_t n_blocks,
                                std::int32_t unit,
                                std::int32_t wanted = kWantedBlocks) {
  const std::int32_t most = n_blocks < wanted ? wanted / n_blocks : 1;
  const std::int32_t units = (n_rows + unit - 1) / unit;
  if (units <= 1) return {unit, 1};
  const std::int32_t per_split = (units + most - 1) / most;
  return {per_split * unit, (units + per_split - 1) / per_split};
}

}  // namespace keyhole::cuda
