#include "engine/ops/layer_linear.h"

#include <ATen/core/Tensor.h>

#include "engine/ops/add.h"
#include "engine/ops/cpu/linear_chunk_cpu.h"
#include "engine/ops/linear_impl.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/silu_mul.h"
#include "engine/ops/tensor_check.h"

namespace keyhole {
namespace {

// The first n rows of tensors, as long as it lives.
class FirstRows {
 public:
  FirstRows(const LayerRows& rows,
            const LayerResult& result,
            const FeedForwardBuffers& buffers = {nullptr, nullptr})
      : n_(rows.n_decode) {
    this->rows = {Narrow(rows.x, 0), n_, rows.norm};
    this->rows.norm.normed = Narrow(rows.norm.normed, 1);
    this->result = {Narrow(result.out, 2), Narrow(result.sum, 3)};
    this->buffers = {Narrow(buffers.gate_up, 4), Narrow(buffers.gated, 5)};
  }

  LayerRows rows;
  LayerResult result;
  FeedForwardBuffers buffers;

 private:
  at::Tensor* Narrow(const at::Tensor* tensor, int slot) {
    if (tensor == nullptr) return nullptr;
    kept_[slot] = tensor->narrow(0, 0, n_);
    return &kept_[slot];
  }

  std::int64_t n_;
  at::Tensor kept_[6];
};

const at::Tensor& Normed(Device& device, const LayerRows& rows) {
  if (rows.norm.weight == nullptr) return *rows.x;
  RmsNorm(device, *rows.x, *rows.norm.weight, rows.norm.eps, *rows.norm.normed);
  return *rows.norm.normed;
}

void MultiplyAndAdd(Device& device,
                    const at::Tensor& x,
                    const PackedLinear& weight,
                    const LayerResult& result) {
  Linear(device, x, weight, *result.out);
  if (result.sum != nullptr) AddInPlace(device, *result.sum, *result.out);
}

void FeedForwardInTurn(Device& device,
                       const LayerRows& rows,
                       const FeedForwardWeights& weights,
                       const FeedForwardBuffers& buffers,
                       const LayerResult& result) {
  const at::Tensor& x = Normed(device, rows);
  {
    const TraceSpan span(device.trace(), "gate_up");
    Linear(device, x, *weights.gate_up, *buffers.gate_up);
  }
  SiluMul(device, *buffers.gate_up, *buffers.gated);
  const TraceSpan span(device.trace(), "down");
  MultiplyAndAdd(device, *buffers.gated, *weights.down, result);
}

// The rows from n_decode on.
struct ChunkRows {
  ChunkInput input;
  ChunkOutput output;
};

// Checks what the operators in turn would.
ChunkRows ChunkOf(const LayerRows& rows,
                  const LayerResult& result,
                  std::int64_t n_in,
                  std::int64_t n_out) {
  const bool add = result.sum != nullptr;
  at::Tensor& to = add ? *result.sum : *result.out;
  NamedSize n("n");
  NamedSize in("n_in", n_in);
  NamedSize out("n_out", n_out);
  CheckTensor("LayerLinear: x", *rows.x, {&n, &in});
  CheckTensor("LayerLinear: result", to, {&n, &out});
  CheckOnCpu("LayerLinear", {rows.x, &to});
  const float* norm_weight = nullptr;
  if (rows.norm.weight != nullptr) {
    CheckTensor("LayerLinear: norm weight", *rows.norm.weight, {&in});
    norm_weight = rows.norm.weight->const_data_ptr<float>();
  }
  return {{.x = rows.x->const_data_ptr<float>() + rows.n_decode * n_in,
           .n = n.value() - rows.n_decode,
           .norm_weight = norm_weight,
           .norm_eps = rows.norm.eps},
          {to.mutable_data_ptr<float>() + rows.n_decode * n_out, add}};
}

}  // namespace

void LayerLinear(Device& device,
                 const LayerRows& rows,
                 const PackedLinear& weight,
                 const LayerResult& result) {
  const LinearWeights& w = weight.impl().weights;
  if (rows.n_decode == rows.x->size(0) || !HasLinearChunks(device, w)) {
    return MultiplyAndAdd(device, Normed(device, rows), weight, result);
  }
  const ChunkRows chunk = ChunkOf(rows, result, w.n_in, w.n_out);
  if (rows.n_decode > 0) {
    const FirstRows first(rows, result);
    MultiplyAndAdd(device, Normed(device, first.rows), weight, first.result);
  }
  LinearChunkCpu(device, chunk.input, w, chunk.output);
}

void FeedForward(Device& device,
                 const LayerRows& rows,
                 const FeedForwardWeights& weights,
                 const FeedForwardBuffers& buffers,
                 const LayerResult& result) {
  const LinearWeights& gate_up = weights.gate_up->impl().weights;
  const LinearWeights& down = weights.down->impl().weights;
  if (rows.n_decode == rows.x->size(0) || !HasFeedForwardChunks(device, gate_up, down)) {
    return FeedForwardInTurn(device, rows, weights, buffers, result);
  }
  const ChunkRows chunk = ChunkOf(rows, result, gate_up.n_in, down.n_out);
  if (rows.n_decode > 0) {
    const FirstRows first(rows, result, buffers);
    FeedForwardInTurn(device, first.rows, weights, first.buffers, first.result);
  }
  FeedForwardChunkCpu(device, chunk.input, gate_up, down, chunk.output);
}

}  // namespace keyhole
