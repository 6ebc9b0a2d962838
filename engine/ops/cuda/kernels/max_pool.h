// Stride-1 maximum over a neighbourhood.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace keyhole::cuda {

struct MaxPoolSequence {
  const float* in = nullptr;  // [n]
  float* out = nullptr;       // [n], not `in`
  std::int32_t n = 0;
};

struct MaxPoolArgs {
  const MaxPoolSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_n = 0;
  std::int32_t eps = 0;  // neighbours on either side

  bool operator==(const MaxPoolArgs&) const = default;
};

// out[j] = max of in[j - eps .. j + eps], clipped to the ends.
cudaError_t LaunchMaxPool(const MaxPoolArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
