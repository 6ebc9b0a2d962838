// What ranks that share a model need beside their collectives.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace keyhole::cuda {

// Parts of rows, one rank's after another's, become whole rows.
struct JoinColumnsArgs {
  const float* parts = nullptr;  // part r: [n_rows, width] from r * part_size on
  float* out = nullptr;        // [n_rows, n_cols]: the columns of part 0, then those of part 1, ..
  std::int64_t part_size = 0;  // values
  std::int64_t n_rows = 0;
  std::int64_t width = 0;
  std::int64_t n_cols = 0;  // the last part's last columns may be left out
};

// Adds to `hash` what the rows of one layer come to; the same rows at the same places, in any
// order of layers, come to the same.
struct HashRowsArgs {
  const std::int32_t* rows = nullptr;  // [n]
  std::uint64_t* hash = nullptr;
  std::int32_t n = 0;
  std::int32_t layer = 0;

  bool operator==(const HashRowsArgs&) const = default;
};

// Of one row at place `i`: splitmix64 of what tells it apart.
constexpr std::uint64_t RowHash(std::int32_t layer, std::int32_t i, std::int32_t row) {
  std::uint64_t x = (static_cast<std::uint64_t>(layer) << 52) ^
                    (static_cast<std::uint64_t>(i) << 30) ^ static_cast<std::uint64_t>(row);
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

cudaError_t LaunchJoinColumns(const JoinColumnsArgs& args, cudaStream_t stream);
cudaError_t LaunchHashRows(const HashRowsArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
