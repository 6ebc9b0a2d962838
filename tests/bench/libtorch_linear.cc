#include "tests/bench/libtorch_linear.h"

#include <ATen/ops/_convert_weight_to_int4pack_for_cpu.h>
#include <ATen/ops/_weight_int4pack_mm_for_cpu.h>
#include <ATen/ops/_weight_int8pack_mm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>

namespace keyhole {
namespace {

constexpr std::int64_t kGroup = 32;  // inputs that share a scale

}  // namespace

LibTorchLinear::LibTorchLinear(std::string_view format, std::int64_t n_out, std::int64_t n_in)
    : kind_(format == "torch-bf16"   ? Kind::kBF16
            : format == "torch-int8" ? Kind::kInt8
                                     : Kind::kInt4),
      scales_(at::empty({0}, at::kBFloat16)) {
  switch (kind_) {
    case Kind::kBF16:
      weight_ = at::rand({n_out, n_in}, at::kBFloat16);
      return;
    case Kind::kInt8:
      weight_ = at::randint(-127, 128, {n_out, n_in}, at::kChar);
      scales_ = at::rand({n_out}, at::kBFloat16);
      return;
    case Kind::kInt4:
      constexpr std::int64_t kInnerTiles = 2;
      weight_ = at::_convert_weight_to_int4pack_for_cpu(at::randint(0, 16, {n_out, n_in}, at::kInt),
                                                        kInnerTiles);
      scales_ = at::rand({n_in / kGroup, n_out, 2}, at::kBFloat16);
      return;
  }
}

at::Tensor LibTorchLinear::Multiply(const at::Tensor& x) const {
  switch (kind_) {
    case Kind::kBF16:
      return at::linear(x, weight_);
    case Kind::kInt8:
      return at::_weight_int8pack_mm(x, weight_, scales_);
    case Kind::kInt4:
      break;
  }
  return at::_weight_int4pack_mm_for_cpu(x, weight_, kGroup, scales_);
}

}  // namespace keyhole
