// The processes that share a model: what they tell one another and how they add up tensors.
#pragma once

#include <ATen/core/ATen_fwd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine_config.h"
#include "engine/parallel/shard.h"

namespace keyhole {

// Collectives of LibTorch's c10d over Gloo: every rank makes the same calls in the same order, and
// each call ends within the settings' timeout. Once a call has failed no later one can succeed.
// Owner: the engine or the worker, for longer than the model. Thread: one at a time.
class ProcessGroup {
 public:
  // Rank 0 listens at the settings' address, the others come there; each then has a connection to
  // each. Waits for `start_timeout` at most. From then on the process ignores SIGPIPE. REQUIRES:
  // settings.size > 1. Errors: UNAVAILABLE, with the ranks that are missing; INVALID_ARGUMENT where
  // ranks differ in size, or two have one rank.
  static absl::StatusOr<std::unique_ptr<ProcessGroup>> Connect(
      const TensorParallelSettings& settings);
  ~ProcessGroup();

  const Shard& shard() const;

  // Until then every call has the time of the start: models load at different speeds.
  void EndStart();

  // Closes the connections, so that calls that others wait in fail at once.
  void Leave();

  // --- messages. Errors: UNAVAILABLE, with the cause, where a rank has gone or is too late.

  // `message` of rank 0 to all.
  absl::Status Broadcast(std::string& message);

  // One number of each rank, by rank.
  absl::StatusOr<std::vector<std::int64_t>> Exchange(std::int64_t value);

  // The smallest of all ranks' numbers.
  absl::StatusOr<std::int64_t> Smallest(std::int64_t own);

  // --- tensors, contiguous f32 and of the same shape on every rank. Errors: what LibTorch throws.

  // x becomes the sum over ranks: rank 0's plus rank 1's and so on, each element in this order
  // whatever the shape, so that all ranks get the same bits and rows do not depend on one another.
  void AllReduce(at::Tensor& x);

  // [size, shape of x]: every rank's x. Valid until the next call.
  at::Tensor AllGather(const at::Tensor& x);

  // The same on rank 0; undefined on the others.
  at::Tensor Gather(const at::Tensor& x);

 private:
  struct State;
  explicit ProcessGroup(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace keyhole
