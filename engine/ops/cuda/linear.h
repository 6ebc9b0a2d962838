// Products with weight matrices in bf16, on the accelerator, by cuBLAS.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/device/device_buffer.h"
#include "engine/device/stream.h"

struct cublasContext;

namespace keyhole::cuda {

// [n_out, n_in] bf16 by rows, device memory. Plain data.
struct DeviceMatrix {
  const std::uint16_t* data = nullptr;
  std::int64_t n_out = 0;
  std::int64_t n_in = 0;

  // Rows [first, first + n) as a matrix of their own.
  DeviceMatrix Rows(std::int64_t first, std::int64_t n) const {
    return {data + first * n_in, n, n_in};
  }
};

// On one stream, with memory of its own, so that products can be captured.
// Owner: the model. Thread: executor only. REQUIRES: the stream outlives it.
class LinearOp {
 public:
  // Throws DeviceError.
  explicit LinearOp(const Stream& stream);

  enum class Output { kSet, kAdd };

  // out [n, n_out] f32 becomes, or grows by, x [n, n_in] bf16 times the matrix transposed. Sums are
  // f32, in an order that may depend on n. Throws std::logic_error for null arguments, DeviceError.
  void Run(const std::uint16_t* x,
           std::int64_t n,
           const DeviceMatrix& weight,
           float* out,
           Output output = Output::kSet);

 private:
  struct Destroy {
    void operator()(cublasContext* handle) const;
  };

  CUstream_st* stream_;
  DeviceBuffer workspace_;
  std::unique_ptr<cublasContext, Destroy> handle_;
};

}  // namespace keyhole::cuda
