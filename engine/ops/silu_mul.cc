#include "engine/ops/silu_mul.h"

#include <ATen/core/Tensor.h>

#include "engine/ops/cpu/row_ops_cpu.h"
#include "engine/ops/tensor_check.h"

namespace keyhole {

void SiluMul(Device& device, const at::Tensor& gate_up, at::Tensor& out) {
  NamedSize n("n");
  NamedSize ffn("ffn");
  CheckTensor("SiluMul: out", out, {&n, &ffn});
  NamedSize two_ffn("2 * ffn", 2 * ffn.value());
  CheckTensor("SiluMul: gate_up", gate_up, {&n, &two_ffn});
  CheckOnCpu("SiluMul", {&gate_up, &out});
  SiluMulCpu(
      device,
      {gate_up.const_data_ptr<float>(), out.mutable_data_ptr<float>(), n.value(), ffn.value()});
}

}  // namespace keyhole
