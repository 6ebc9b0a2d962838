// Operators that treat every row by itself. f32; where `rounded` is given, the result goes there as
// bf16 instead of to `out`.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace keyhole::cuda {

constexpr std::int64_t kMaxNormed = 16384;  // values of a row: a thread keeps its own in registers

struct RmsNormArgs {
  const float* x = nullptr;       // [n_rows, n], n at most kMaxNormed
  const float* weight = nullptr;  // [n]
  float* out = nullptr;           // like x, may be x
  std::uint16_t* rounded = nullptr;
  std::int64_t n_rows = 0;
  std::int64_t n = 0;
  float eps = 0;
};

// The same rows to one or more positions each: turn t takes row i to index[t, i].
struct RopeArgs {
  const float* x = nullptr;    // [n_rows, n_heads, 2 * half]
  const float* cos = nullptr;  // [n_positions, half]
  const float* sin = nullptr;
  const std::int32_t* index = nullptr;  // [n_turns, n_rows]
  float* out = nullptr;                 // [n_turns], each like x; of one turn may be x
  std::int64_t n_rows = 0;
  std::int32_t n_heads = 0;
  std::int32_t half = 0;
  std::int32_t n_turns = 1;

  bool operator==(const RopeArgs&) const = default;
};

struct SiluMulArgs {
  const float* gate_up = nullptr;  // [n_rows, 2 * n], gate first
  float* out = nullptr;            // [n_rows, n]
  std::uint16_t* rounded = nullptr;
  std::int64_t n_rows = 0;
  std::int64_t n = 0;
};

struct AddArgs {
  float* x = nullptr;  // [n], += y
  const float* y = nullptr;
  std::int64_t n = 0;
};

// The same for every row, as of a bias.
struct AddToRowsArgs {
  float* x = nullptr;        // [n_rows, n], += y
  const float* y = nullptr;  // [n]
  std::int64_t n_rows = 0;
  std::int64_t n = 0;
};

// Rows of a table by their numbers: of bf16 or, where that is null, of f32.
struct LookupArgs {
  const std::uint16_t* bf16_table = nullptr;  // [any, n]
  const float* table = nullptr;
  const std::int32_t* index = nullptr;  // [n_rows]
  float* out = nullptr;                 // [n_rows, n]
  std::int64_t n_rows = 0;
  std::int64_t n = 0;
};

cudaError_t LaunchRmsNorm(const RmsNormArgs& args, cudaStream_t stream);
cudaError_t LaunchRope(const RopeArgs& args, cudaStream_t stream);
cudaError_t LaunchSiluMul(const SiluMulArgs& args, cudaStream_t stream);
cudaError_t LaunchAdd(const AddArgs& args, cudaStream_t stream);
cudaError_t LaunchAddToRows(const AddToRowsArgs& args, cudaStream_t stream);
cudaError_t LaunchLookup(const LookupArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
