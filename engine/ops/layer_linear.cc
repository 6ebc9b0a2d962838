#include "engine/ops/layer_linear.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

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
  const TraceSpan span(device.trace(), "norm");
  RmsNorm(device, *rows.x, *rows.norm.weight, rows.norm.eps, *rows.norm.normed);
  return *rows.norm.normed;
}

void MultiplyAndAdd(Device& device,
                    const at::Tensor& x,
                    const PackedLinear& weight,
                    const LayerResult& result) {
  Linear(device, x, weight, *result.out);
  if (result.sum == nullptr) return;
  const TraceSpan span(device.trace(), "add");
  AddInPlace(device, *result.sum, *result.out);
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
  {
    const TraceSpan span(device.trace(), "gate");
    SiluMul(device, *buffers.gate_up, *buffers.gated);
  }
  const TraceSpan span(device.trace(), "down");
  MultiplyAndAdd(device, *buffers.gated, *weights.down, result);
}

// The rows from n_decode on.
struct ChunkRows {
  ChunkInput input;
  ChunkOutput output;
};

void CheckColumns(const LayerColumns& columns, std::int64_t n, std::int64_t n_out) {
  std::int64_t n_columns = 0;
  for (const at::Tensor* part : columns.parts) {
    CheckOp(part->size(0) == n && part->is_contiguous() && part->scalar_type() == at::kFloat,
            "LayerLinearApart",
            "a part is not as many f32 rows");
    CheckOnCpu("LayerLinearApart", {part});
    n_columns += part->numel() / std::max<std::int64_t>(1, n);
  }
  CheckOp(n_columns == n_out, "LayerLinearApart", "the parts are not all columns");
}

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
          {to.mutable_data_ptr<float>() + rows.n_decode * n_out, n_out, add}};
}

// The first n rows of columns.all to its parts.
void TakeApart(Device& device, const LayerColumns& columns, std::int64_t n) {
  const float* from = columns.all->const_data_ptr<float>();
  if (columns.parts.front()->const_data_ptr<float>() == from) return;  // they lie there
  const std::int64_t width = columns.all->size(1);
  constexpr std::int64_t kRowsPerTask = 32;
  device.pool().ParallelFor((n + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
    const std::int64_t end = std::min(n, (task + 1) * kRowsPerTask);
    for (std::int64_t row = task * kRowsPerTask; row < end; ++row) {
      const float* at = from + row * width;
      for (const at::Tensor* part : columns.parts) {
        const std::int64_t size = part->numel() / part->size(0);
        std::copy_n(at, size, part->mutable_data_ptr<float>() + row * size);
        at += size;
      }
    }
  });
}

// Where the chunk's rows go; nothing if a part does not begin where a pair of panels does.
std::vector<ChunkOutput> OutputsOf(const LayerColumns& columns, std::int64_t n_decode) {
  std::vector<ChunkOutput> outputs;
  for (const at::Tensor* part : columns.parts) {
    const std::int64_t size = part->numel() / part->size(0);
    if (size % kChunkColumns != 0) return {};
    outputs.push_back({part->mutable_data_ptr<float>() + n_decode * size, size, false});
  }
  return outputs;
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
  LinearChunkCpu(device, chunk.input, w, {&chunk.output, 1});
}

void LayerLinearApart(Device& device,
                      const LayerRows& rows,
                      const PackedLinear& weight,
                      const LayerColumns& columns) {
  const LinearWeights& w = weight.impl().weights;
  const std::int64_t n = rows.x->size(0);
  const LayerResult together = {columns.all, nullptr};
  CheckColumns(columns, n, w.n_out);
  std::vector<ChunkOutput> outputs;
  if (rows.n_decode < n && HasLinearChunks(device, w)) outputs = OutputsOf(columns, rows.n_decode);
  if (outputs.empty()) {
    LayerLinear(device, rows, weight, together);
    return TakeApart(device, columns, n);
  }
  const ChunkRows chunk = ChunkOf(rows, together, w.n_in, w.n_out);
  if (rows.n_decode > 0) {
    const FirstRows first(rows, together);
    MultiplyAndAdd(device, Normed(device, first.rows), weight, first.result);
    TakeApart(device, columns, rows.n_decode);
  }
  LinearChunkCpu(device, chunk.input, w, outputs);
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
  CheckOp(
      gate_up.n_out == 2 * down.n_in, "FeedForward", "down does not take what gate and up give");
  const ChunkRows chunk = ChunkOf(rows, result, gate_up.n_in, down.n_out);
  if (rows.n_decode > 0) {
    const FirstRows first(rows, result, buffers);
    FeedForwardInTurn(device, first.rows, weights, first.buffers, first.result);
  }
  FeedForwardChunkCpu(device, chunk.input, gate_up, down, chunk.output);
}

}  // namespace keyhole
