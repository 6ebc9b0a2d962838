// How the rows of a sequence are shared out among blocks. Pure arithmetic.
#pragma once

#include <cstdint>

namespace keyhole::cuda {

constexpr std::int32_t kFewSplitUnit = 128;  // rows: each warp of a block has a turn
constexpr std::int32_t kManySplitUnit = 64;  // rows: a tile
constexpr std::int32_t kManyTileLanes = 64;  // query heads of a tile of queries
constexpr std::int32_t kWantedBlocks = 528;  // fill a large GPU twice or more

struct AttendSplits {
  std::int32_t split_rows = 0;
  std::int32_t n_splits = 1;
};

// `n_blocks`: of the sequence, if its rows are not split. Depends on the sequence's own sizes
// alone, so that its results do not depend on the batch or the GPU.
constexpr AttendSplits SplitsOf(std::int32_t n_rows, std::int32_t n_blocks, std::int32_t unit) {
  const std::int32_t most = n_blocks < kWantedBlocks ? kWantedBlocks / n_blocks : 1;
  const std::int32_t units = (n_rows + unit - 1) / unit;
  if (units <= 1) return {unit, 1};
  const std::int32_t per_split = (units + most - 1) / most;
  return {per_split * unit, (units + per_split - 1) / per_split};
}

}  // namespace keyhole::cuda
