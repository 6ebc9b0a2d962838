// What sampling needs of a row of logits.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace keyhole::cuda {

struct LogitsArgs {
  const float* logits = nullptr;  // [n_rows, vocab_size], finite
  std::int32_t n_rows = 0;
  std::int32_t vocab_size = 0;
};

struct ArgMaxArgs {
  LogitsArgs in;
  std::int32_t* tokens = nullptr;  // [n_rows]: of the largest logit, ties to the smaller id
};

struct SoftmaxArgs {
  LogitsArgs in;
  const float* inverse_temperatures = nullptr;  // [n_rows]; null: 1
  float* probabilities = nullptr;               // [n_rows, vocab_size]
  float* log_sums = nullptr;  // [n_rows]: log(sum(exp(logits * inverse temperature))); or null
};

cudaError_t LaunchArgMax(const ArgMaxArgs& args, cudaStream_t stream);

// Sums run over each row in one order, whatever else is in the batch.
cudaError_t LaunchSoftmax(const SoftmaxArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
