// Attention of a sequence's queries over rows that the accelerator reaches: several parts, one
// softmax.
#pragma once

#include <cstdint>
#include <span>

#include "engine/kv/row_range.h"
#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/kernels/attend.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

// As keyhole::AttendPart, in device memory. `rows` is seen by every query; where it is null,
// `range` is, and with `causal_from` set query i sees only rows of the range up to causal_from + i.
struct AttendPartParams {
  const float* queries = nullptr;  // [q_len, n_heads, head_dim], rotated for this part
  RowRange range = {};
  const std::int32_t* rows = nullptr;  // [n_rows], ascending
  std::int32_t n_rows = 0;
  std::int32_t causal_from = -1;  // absolute position of query 0, or -1
  const float* bias = nullptr;    // [q_len], added to the scaled logits of this part; or null
  float scale = 1;                // multiplies softmax_scale in this part
  KeyRing keys = {};              // base null: in the pages
  KeyRing values = {};            // the same; gathered rows are a ring that is large enough
};

struct AttendParams {
  KvPages store = {};  // its base may be null if no part reads pages
  DevicePageTable pages = {};
  std::int32_t q_len = 0;
  std::span<const AttendPartParams> parts = {};  // together one softmax, at most kMaxAttendParts
  float* out = nullptr;                          // [q_len, n_heads, head_dim]
  std::uint16_t* rounded = nullptr;  // where given, the result goes there as bf16 instead
};

// What all sequences of a call share.
struct AttendSettings {
  std::int32_t layer = 0;
  std::int32_t n_heads = 0;
  float softmax_scale = 0;  // 1 / sqrt(head_dim)
};

// A query that sees no row gets zeros. A sequence's result depends on its own numbers alone, bit
// for bit: rows are split and merged by its own sizes. One query, and rows in f32, are computed in
// f32, within 2e-5 of keyhole::AttendRows; several queries over rows in bf16 or int8 by tensor
// cores, with queries and weights in bf16, within 2e-2 of the largest value. REQUIRES: one layout;
// head_dim a multiple of 8, at most 128. Throws std::logic_error otherwise, DeviceError.
void AttendRows(const AttendSettings& settings,
                std::span<const AttendParams> sequences,
                Workspace& workspace);

// Device memory for the partial results of so many sequences of one query each, at most. `group`:
// query heads of a KV head.
std::size_t AttendScratchBytes(std::int32_t n_sequences, std::int32_t group, std::int32_t head_dim);

// Arguments of the launches of all layers of a step, which differ in `layer` alone: rings are those
// of layer 0, and the others lie layer_bytes apart. Scratch is that of the workspace.
struct AttendRowsArgs {
  AttendArgs few;
  AttendArgs many;

  bool operator==(const AttendRowsArgs&) const = default;
};
AttendRowsArgs PlanAttendRows(const AttendSettings& settings,
                              std::span<const AttendParams> sequences,
                              Workspace& workspace);
void AttendRows(std::int32_t layer, AttendRowsArgs args, const Stream& stream);

}  // namespace keyhole::cuda
