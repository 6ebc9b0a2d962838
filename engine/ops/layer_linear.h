// The products of a decoder layer with the operators around them.
//
// The first n_decode rows have the bits of RmsNorm, Linear, SiluMul and AddInPlace in turn. The
// others are rows of prefill chunks: where the machine multiplies many rows of bf16 faster, and the
// weights are not of format kF32, these go through all of it at once with weights, inputs and what
// lies between rounded to bf16. Either way a row has the same bits whichever rows stand beside it.
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"
#include "engine/ops/linear.h"

namespace at {
class Tensor;
}

namespace keyhole {

// RmsNorm before the product; no weight: none.
struct RowNorm {
  const at::Tensor* weight = nullptr;  // [n_in]
  double eps = 0;
  at::Tensor* normed = nullptr;  // like x, overwritten
};

struct LayerRows {
  const at::Tensor* x = nullptr;  // [n, n_in] f32
  std::int64_t n_decode = 0;
  RowNorm norm;
};

// sum += product, where there is a sum; `out` is overwritten then.
struct LayerResult {
  at::Tensor* out = nullptr;  // [n, n_out] f32
  at::Tensor* sum = nullptr;  // like out
};

// Columns that belong to several matrices, side by side.
struct LayerColumns {
  at::Tensor* all = nullptr;  // [n, n_out] f32, for rows that come out as one
  // Each [n, ...] f32, overwritten. Of a single row they may lie inside `all`.
  std::span<at::Tensor* const> parts = {};
};

struct FeedForwardWeights {
  const PackedLinear* gate_up = nullptr;  // [2 * ffn, hidden]: gate's rows, then up's
  const PackedLinear* down = nullptr;     // [hidden, ffn]
};

// What lies between the products, overwritten.
struct FeedForwardBuffers {
  at::Tensor* gate_up = nullptr;  // [n, 2 * ffn]
  at::Tensor* gated = nullptr;    // [n, ffn]
};

// x W^T + b.
void LayerLinear(Device& device,
                 const LayerRows& rows,
                 const PackedLinear& weight,
                 const LayerResult& result);

// The same into several matrices.
void LayerLinearApart(Device& device,
                      const LayerRows& rows,
                      const PackedLinear& weight,
                      const LayerColumns& columns);

// down(silu(gate) * up). result.out may be rows.norm.normed.
void FeedForward(Device& device,
                 const LayerRows& rows,
                 const FeedForwardWeights& weights,
                 const FeedForwardBuffers& buffers,
                 const LayerResult& result);

}  // namespace keyhole
