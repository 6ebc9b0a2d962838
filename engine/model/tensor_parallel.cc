#include "engine/model/tensor_parallel.h"

#include <ATen/ops/empty.h>

#include "engine/device/trace.h"
#include "engine/model/model_shard.h"
#include "engine/parallel/tensor_room.h"

namespace keyhole {
namespace {

// parts [ranks, n * width] -> [n, ranks * width]: each token's heads in the order of ranks.
at::Tensor ByToken(const at::Tensor& parts, std::int64_t n, at::Tensor& buffer) {
  const std::int64_t n_ranks = parts.size(0);
  const std::int64_t width = parts.size(1) / n;
  at::Tensor rows = RoomFor(buffer, parts.numel()).view({n, n_ranks, width});
  rows.copy_(parts.unflatten(1, {n, width}).transpose(0, 1));
  return rows;
}

}  // namespace

void TensorParallel::AllReduce(Device& device, at::Tensor& x) {
  const TraceSpan span(device.trace(), "all_reduce");
  group_->AllReduce(x);
}

void TensorParallel::GatherHeads(Device& device,
                                 SelectionReads reads,
                                 const Projections& own,
                                 LayerProjections& tensors) {
  if (reads == SelectionReads::kNothing) return;
  const TraceSpan span(device.trace(), "gather_heads");
  const bool queries = reads == SelectionReads::kQueriesAndKeys;
  const std::int64_t n = own.q.size(0);
  const std::int64_t q_size = queries ? own.q.numel() : 0;
  const std::int64_t k_size = own.k.numel();
  const at::Tensor all = group_->AllGather(queries ? own.qk : own.k.view({k_size}));
  k_ = ByToken(all.narrow(1, q_size, k_size), n, k_buffer_)
           .view({n, whole_.n_kv_heads, whole_.head_dim});
  tensors.all_k = &k_;
  if (!queries) return;
  q_ = ByToken(all.narrow(1, 0, q_size), n, q_buffer_).view({n, whole_.n_heads, whole_.head_dim});
  tensors.all_q = &q_;
}

void TensorParallel::GatherLogits(Device& device, const at::Tensor& own, at::Tensor& logits) {
  const TraceSpan span(device.trace(), "gather_logits");
  const std::int64_t n = own.size(0);
  const std::int32_t n_ranks = group_->shard().size;
  // The last part may be smaller, and collectives want one shape.
  const std::int64_t width = VocabWidth(whole_.vocab_size, n_ranks);
  at::Tensor sent = own;
  if (own.size(1) != width) {
    sent = at::empty({n, width}, at::kFloat);
    sent.narrow(1, own.size(1), width - own.size(1)).zero_();
    sent.narrow(1, 0, own.size(1)).copy_(own);
  }
  const at::Tensor parts = group_->Gather(sent);
  if (!is_root()) return;
  for (std::int32_t rank = 0; rank < n_ranks; ++rank) {
    const ShardRange part = Split(whole_.vocab_size, width, {rank, n_ranks});
    logits.narrow(1, part.begin, part.size).copy_(parts.select(0, rank).narrow(1, 0, part.size));
  }
}

}  // namespace keyhole
