#include "engine/ops/linear.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <utility>

#include "absl/status/status.h"
#include "engine/ops/cpu/linear_cpu.h"
#include "engine/ops/cpu/linear_weights.h"
#include "engine/ops/linear_impl.h"
#include "engine/ops/tensor_check.h"
#include "engine/status_macros.h"

namespace keyhole {

namespace {

absl::Status CheckShape(std::int64_t n_out, std::int64_t n_in, std::span<const float> bias) {
  if (n_out < 1 || n_in < 1) {
    return absl::InvalidArgumentError(fmt::format("weight matrix of shape [{}, {}]", n_out, n_in));
  }
  if (!bias.empty() && static_cast<std::int64_t>(bias.size()) != n_out) {
    return absl::InvalidArgumentError(
        fmt::format("bias of {} values for {} outputs", bias.size(), n_out));
  }
  return absl::OkStatus();
}

// Filled up to whole panels, as the kernels read it.
void SetBias(std::span<const float> bias, LinearWeights& weights) {
  weights.bias.assign(bias.begin(), bias.end());
  if (!bias.empty()) weights.bias.resize(weights.n_panels() * kPanelColumns);
}

}  // namespace

PackedLinear::PackedLinear() = default;
PackedLinear::PackedLinear(PackedLinear&&) noexcept = default;
PackedLinear& PackedLinear::operator=(PackedLinear&&) noexcept = default;
PackedLinear::~PackedLinear() = default;

absl::StatusOr<PackedLinear> PackedLinear::Pack(Device& device,
                                                LinearFormat format,
                                                std::int64_t n_out,
                                                std::int64_t n_in,
                                                const WeightRowReader& rows,
                                                std::span<const float> bias) {
  KEYHOLE_RETURN_IF_ERROR(CheckShape(n_out, n_in, bias));
  KEYHOLE_ASSIGN_OR_RETURN(LinearWeights weights, PackWeights(device, {format, n_out, n_in}, rows));
  SetBias(bias, weights);
  PackedLinear packed;
  packed.impl_ = std::make_unique<const Impl>(Impl{std::move(weights)});
  return packed;
}

absl::StatusOr<PackedLinear> PackedLinear::PackQuantized(Device& device,
                                                         std::int64_t n_out,
                                                         std::int64_t n_in,
                                                         const QuantizedRows& rows,
                                                         std::span<const float> bias) {
  KEYHOLE_RETURN_IF_ERROR(CheckShape(n_out, n_in, bias));
  const int block_size = TraitsOf(rows.encoding).block_size;
  if (n_in % block_size != 0) {
    return absl::InvalidArgumentError(
        fmt::format("rows of {} values do not divide into blocks of {}", n_in, block_size));
  }
  KEYHOLE_ASSIGN_OR_RETURN(LinearWeights weights, PackQuantizedWeights(device, n_out, n_in, rows));
  SetBias(bias, weights);
  PackedLinear packed;
  packed.impl_ = std::make_unique<const Impl>(Impl{std::move(weights)});
  return packed;
}

std::int64_t PackedLinear::n_out() const { return impl_->weights.n_out; }
std::int64_t PackedLinear::n_in() const { return impl_->weights.n_in; }
std::size_t PackedLinear::bytes() const {
  return impl_->weights.data_bytes() + impl_->weights.bias.size() * sizeof(float);
}

void Linear(Device& device, const at::Tensor& x, const PackedLinear& weight, at::Tensor& out) {
  NamedSize n("n");
  NamedSize n_in("n_in", weight.n_in());
  NamedSize n_out("n_out", weight.n_out());
  CheckTensor("Linear: x", x, {&n, &n_in});
  CheckTensor("Linear: out", out, {&n, &n_out});
  CheckOnCpu("Linear", {&x, &out});
  LinearCpu(device,
            {&weight.impl().weights,
             x.const_data_ptr<float>(),
             n.value(),
             out.mutable_data_ptr<float>()});
}

}  // namespace keyhole
