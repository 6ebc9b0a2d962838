#include "engine/ops/rms_norm.h"

#include <ATen/core/Tensor.h>

#include "engine/ops/cpu/row_ops_cpu.h"
#include "engine/ops/tensor_check.h"

namespace keyhole {

void RmsNorm(
    Device& device, const at::Tensor& x, const at::Tensor& weight, double eps, at::Tensor& out) {
  NamedSize n("n");
  const std::int64_t n_rows = CheckRows("RmsNorm: x", x, n);
  CheckTensor("RmsNorm: weight", weight, {&n});
  CheckSameShape("RmsNorm: out", out, x);
  CheckOnCpu("RmsNorm", {&x, &weight, &out});
  RmsNormCpu(device,
             {x.const_data_ptr<float>(),
              weight.const_data_ptr<float>(),
              out.mutable_data_ptr<float>(),
              n_rows,
              n.value(),
              eps});
}

}  // namespace keyhole
