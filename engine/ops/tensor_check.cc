#include "engine/ops/tensor_check.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>
#include <string>

namespace keyhole {
namespace {

std::string Describe(const at::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes().begin(), tensor.sizes().end(), ", "));
}

[[noreturn]] void Fail(std::string_view what, std::string_view problem) {
  throw std::logic_error(fmt::format("{}: {}", what, problem));
}

void CheckStorage(std::string_view what, const at::Tensor& tensor) {
  if (!tensor.defined()) Fail(what, "undefined tensor");
  if (tensor.scalar_type() != at::kFloat) Fail(what, "expected float32");
  if (!tensor.is_contiguous()) Fail(what, "expected contiguous memory");
}

void CheckSize(std::string_view what, const at::Tensor& tensor, std::int64_t dim, NamedSize& size) {
  if (size.Match(tensor.size(dim))) return;
  Fail(what,
       fmt::format("dimension {} of {} should be {} = {}",
                   dim,
                   Describe(tensor),
                   size.name(),
                   size.value()));
}

}  // namespace

void CheckTensor(std::string_view what,
                 const at::Tensor& tensor,
                 std::initializer_list<NamedSize*> shape) {
  CheckStorage(what, tensor);
  if (tensor.dim() != static_cast<std::int64_t>(shape.size())) {
    Fail(what, fmt::format("expected {} dimensions, got {}", shape.size(), Describe(tensor)));
  }
  std::int64_t dim = 0;
  for (NamedSize* size : shape) CheckSize(what, tensor, dim++, *size);
}

std::int64_t CheckRows(std::string_view what, const at::Tensor& tensor, NamedSize& last) {
  CheckStorage(what, tensor);
  if (tensor.dim() == 0) Fail(what, "expected at least one dimension");
  CheckSize(what, tensor, tensor.dim() - 1, last);
  return last.value() == 0 ? 0 : tensor.numel() / last.value();
}

void CheckSameShape(std::string_view what, const at::Tensor& tensor, const at::Tensor& like) {
  CheckStorage(what, tensor);
  if (tensor.sizes() == like.sizes()) return;
  Fail(what, fmt::format("shape {} should be {}", Describe(tensor), Describe(like)));
}

void CheckOnCpu(std::string_view what, std::initializer_list<const at::Tensor*> tensors) {
  for (const at::Tensor* tensor : tensors) {
    if (!tensor->is_cpu()) Fail(what, "no kernel for this device");
  }
}

}  // namespace keyhole
