// Attention over rows: several parts, one softmax. Sequences whose rows are split over blocks leave
// partial results, which a further kernel merges in order.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/row_place.h"
#include "engine/ops/cuda/kernels/softmax_state.h"

namespace keyhole::cuda {

constexpr std::int32_t kMaxAttendParts = 4;

struct AttendPart {
  const float* queries = nullptr;      // [q_len, n_heads, head_dim], rotated for this part
  RowPlace keys;                       // [n_kv_heads, head_dim] at the begin of a row
  RowPlace values;                     // the same
  const std::int32_t* rows = nullptr;  // [count]; null: the rows from `begin` on
  std::int32_t begin = 0;
  std::int32_t count = 0;
  std::int32_t causal_from = -1;  // query i sees rows up to causal_from + i; -1: all
  const float* bias = nullptr;    // [q_len], added to the scaled logits; or null
  float scale = 1;                // multiplies softmax_scale
  std::int32_t offset = 0;        // rows of the parts before this one
};

struct AttendSequence {
  AttendPart parts[kMaxAttendParts];
  const std::int32_t* pages = nullptr;  // page table of the sequence
  float* out = nullptr;                 // [q_len, n_heads, head_dim]
  std::uint16_t* rounded = nullptr;     // where given, the result goes there as bf16 instead
  std::int32_t n_parts = 0;
  std::int32_t q_len = 0;
  std::int32_t split_rows = 0;  // of all parts' rows one after another; see attend_split.h
  std::int32_t n_splits = 0;    // 1: blocks write the result; else at most kWantedBlocks
  std::int64_t partial = 0;     // first vector of [n_splits, q_len, n_heads] in the workspace
};

struct AttendArgs {
  const AttendSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_q_len = 0;
  std::int32_t max_splits = 0;
  std::int32_t layer = 0;
  std::int32_t n_heads = 0;
  std::int32_t n_kv_heads = 0;
  std::int32_t head_dim = 0;
  float softmax_scale = 0;
  Element type = Element::kBF16;
  float* partial_values = nullptr;         // [vectors, head_dim]: workspace
  SoftmaxState* partial_states = nullptr;  // [vectors]: workspace

  bool operator==(const AttendArgs&) const = default;
};

// One query at a time, in f32: decode, and rows in f32. REQUIRES: head_dim is a multiple of 8, at
// most 128.
cudaError_t LaunchAttendFew(const AttendArgs& args, cudaStream_t stream);

// Tiles of queries, products of bf16 by tensor cores: prefill. REQUIRES: rows in bf16 or int8;
// head_dim is 64 or 128.
cudaError_t LaunchAttendMany(const AttendArgs& args, cudaStream_t stream);

// The results of sequences with more than one split.
cudaError_t LaunchAttendMerge(const AttendArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
