// What the ranks of one model exchange within a forward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/attention/selective_attention.h"
#include "engine/device/device.h"
#include "engine/model/activations.h"
#include "engine/model/model_config.h"
#include "engine/parallel/process_group.h"

namespace keyhole {

// Splits as Megatron-LM does (arXiv 1909.08053): sums after o and down. Beside these the queries
// and keys that selection reads are gathered, so that every rank scores all heads by digests of all
// heads and selects the same rows. Every rank makes the same calls in the same order: they follow
// from the step's input alone. Errors: what ProcessGroup throws. Owner: the model. Thread: executor
// only.
class TensorParallel {
 public:
  // `group` outlives this object. `whole` is the model before it was split.
  TensorParallel(ProcessGroup* group, const ModelConfig& whole) : group_(group), whole_(whole) {}

  bool is_root() const { return group_->shard().is_root(); }

  // x [n, hidden_size] becomes the sum of all ranks' x.
  void AllReduce(Device& device, at::Tensor& x);

  // Points `tensors` at the heads of all ranks as far as selection reads them; valid until the next
  // call.
  void GatherHeads(Device& device,
                   SelectionReads reads,
                   const Projections& own,
                   LayerProjections& tensors);

  // own [n, this rank's part of the vocabulary] -> logits [n, vocab_size] on rank 0.
  void GatherLogits(Device& device, const at::Tensor& own, at::Tensor& logits);

 private:
  ProcessGroup* group_;
  ModelConfig whole_;
  at::Tensor q_buffer_;
  at::Tensor k_buffer_;
  at::Tensor q_;
  at::Tensor k_;
};

}  // namespace keyhole
