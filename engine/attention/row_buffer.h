// A matrix of f32 rows that is reused from step to step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace keyhole {

class RowBuffer {
 public:
  // The first `n` rows of [n, n_heads, head_dim]; contents are lost when it has to grow.
  const at::Tensor& Rows(std::int64_t n, std::int64_t n_heads, std::int64_t head_dim);

 private:
  at::Tensor memory_;
  at::Tensor rows_;  // the last view: layers of a step ask for the same one
};

}  // namespace keyhole
