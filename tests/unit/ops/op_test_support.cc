#include "tests/unit/ops/op_test_support.h"

#include <ATen/ops/empty.h>

namespace keyhole {

at::Tensor EmptyTensor(std::initializer_list<std::int64_t> shape) {
  return at::empty(at::IntArrayRef(shape), at::kFloat);
}

}  // namespace keyhole
