// y = x W^T + b with a weight matrix that was packed once for the device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "engine/device/device.h"
#include "engine/ops/quantized_blocks.h"

namespace at {
class Tensor;
}

namespace keyhole {

enum class LinearFormat {
  kF32,   // f32 weights and products: the reference
  kBF16,  // weights rounded to bf16, f32 products and sums (chunks: layer_linear.h)
  kInt8,  // weights in blocks of 32 with an f16 scale; inputs quantised per row and block of 32
};

// Fills `out` [n_in] with row `row` of the weight matrix in f32. Several threads call it at once.
using WeightRowReader = std::function<void(std::int64_t row, std::span<float> out)>;

// Immutable after packing; may be shared between threads.
class PackedLinear {
 public:
  PackedLinear();
  PackedLinear(PackedLinear&&) noexcept;
  PackedLinear& operator=(PackedLinear&&) noexcept;
  ~PackedLinear();

  // `bias` is [n_out] or empty. Errors: RESOURCE_EXHAUSTED where memory is short.
  static absl::StatusOr<PackedLinear> Pack(Device& device,
                                           LinearFormat format,
                                           std::int64_t n_out,
                                           std::int64_t n_in,
                                           const WeightRowReader& rows,
                                           std::span<const float> bias = {});

  // Format kInt8 with the codes, scales and offsets of the file, 4-bit codes in 4 bits: no weight
  // changes. Errors: as above; INVALID_ARGUMENT if the encoding's blocks do not divide n_in.
  static absl::StatusOr<PackedLinear> PackQuantized(Device& device,
                                                    std::int64_t n_out,
                                                    std::int64_t n_in,
                                                    const QuantizedRows& rows,
                                                    std::span<const float> bias = {});

  std::int64_t n_out() const;
  std::int64_t n_in() const;
  std::size_t bytes() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<const Impl> impl_;
};

// x [n, n_in] f32 -> out [n, n_out] f32, both contiguous. Each output is a sum in an order fixed by
// n_in alone: row i of `out` has the same bits whatever n is and whichever rows stand beside it.
void Linear(Device& device, const at::Tensor& x, const PackedLinear& weight, at::Tensor& out);

}  // namespace keyhole
