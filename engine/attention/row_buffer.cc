#include "engine/attention/row_buffer.h"

#include <ATen/ops/empty.h>

namespace keyhole {

const at::Tensor& RowBuffer::Rows(std::int64_t n, std::int64_t n_heads, std::int64_t head_dim) {
  if (!memory_.defined() || memory_.size(0) < n) {
    memory_ = at::empty({n, n_heads, head_dim}, at::TensorOptions().dtype(at::kFloat));
    rows_ = memory_;
  }
  if (rows_.size(0) != n) rows_ = memory_.narrow(0, 0, n);
  return rows_;
}

}  // namespace keyhole
