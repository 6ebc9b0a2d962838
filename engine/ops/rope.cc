#include "engine/ops/rope.h"

#include <ATen/core/Tensor.h>

#include "engine/ops/cpu/row_ops_cpu.h"
#include "engine/ops/tensor_check.h"

namespace keyhole {

void ApplyRope(Device& device,
               const at::Tensor& x,
               RopeRows table,
               std::span<const std::int32_t> index,
               at::Tensor& out) {
  NamedSize n("n", static_cast<std::int64_t>(index.size()));
  NamedSize n_heads("n_heads");
  NamedSize head_dim("head_dim");
  CheckTensor("ApplyRope: x", x, {&n, &n_heads, &head_dim});
  CheckTensor("ApplyRope: out", out, {&n, &n_heads, &head_dim});
  CheckOp(head_dim.value() % 2 == 0, "ApplyRope: x", "head_dim should be even");
  CheckOnCpu("ApplyRope", {&x, &out});
  RopeCpu(device,
          {x.const_data_ptr<float>(),
           table.cos,
           table.sin,
           index.data(),
           out.mutable_data_ptr<float>(),
           n.value(),
           n_heads.value(),
           head_dim.value() / 2});
}

}  // namespace keyhole
