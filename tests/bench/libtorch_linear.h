// LibTorch's own products with packed weights, to compare Linear with.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace keyhole {

constexpr std::int64_t kLibTorchColumns = 64;  // outputs come in such steps
constexpr std::string_view kLibTorchFormats[] = {"torch-bf16", "torch-int8", "torch-int4"};

// One weight matrix of random numbers. `torch-bf16` is multiplied by oneDNN; `torch-int8` has a
// scale for each output; `torch-int4` a scale and a zero for each 32 inputs.
class LibTorchLinear {
 public:
  // REQUIRES: one of kLibTorchFormats.
  LibTorchLinear(std::string_view format, std::int64_t n_out, std::int64_t n_in);

  std::size_t bytes() const { return weight_.nbytes() + scales_.nbytes(); }

  // x [n, n_in] bf16 -> [n, n_out] bf16.
  at::Tensor Multiply(const at::Tensor& x) const;

 private:
  enum class Kind { kBF16, kInt8, kInt4 };

  Kind kind_;
  at::Tensor weight_;
  at::Tensor scales_;
};

}  // namespace keyhole
