#include "engine/ops/add.h"

#include <ATen/core/Tensor.h>

#include "engine/ops/cpu/row_ops_cpu.h"
#include "engine/ops/tensor_check.h"

namespace keyhole {

void AddInPlace(Device& device, at::Tensor& x, const at::Tensor& y) {
  NamedSize last("last");
  CheckRows("AddInPlace: x", x, last);
  CheckSameShape("AddInPlace: y", y, x);
  CheckOnCpu("AddInPlace", {&x, &y});
  AddCpu(device, {x.mutable_data_ptr<float>(), y.const_data_ptr<float>(), x.numel()});
}

}  // namespace keyhole
