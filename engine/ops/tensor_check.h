// Shape checks at the door of an operator, with the sizes named as in its header.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "engine/ops/op_check.h"

namespace at {
class Tensor;
}

namespace keyhole {

// A size that several tensors share: the first tensor checked gives its value unless the
// constructor did.
class NamedSize {
 public:
  explicit NamedSize(std::string_view name, std::int64_t value = kUnset)
      : name_(name), value_(value) {}

  std::string_view name() const { return name_; }
  std::int64_t value() const { return value_; }

  // Takes `size` as the value if there is none yet. False if it differs from the value.
  bool Match(std::int64_t size) {
    if (value_ == kUnset) value_ = size;
    return value_ == size;
  }

 private:
  static constexpr std::int64_t kUnset = -1;

  std::string_view name_;
  std::int64_t value_;
};

// REQUIRES: `tensor` is f32, contiguous, and has `shape`. A violation is a defect of the caller:
// throws std::logic_error, which the model executor catches with LibTorch's exceptions. `what` is
// "Op: argument".
void CheckTensor(std::string_view what,
                 const at::Tensor& tensor,
                 std::initializer_list<NamedSize*> shape);

// The same with leading dimensions of any size before one last dimension. Returns the number of
// rows.
std::int64_t CheckRows(std::string_view what, const at::Tensor& tensor, NamedSize& last);

// REQUIRES: `tensor` is f32, contiguous, and has the shape of `like`.
void CheckSameShape(std::string_view what, const at::Tensor& tensor, const at::Tensor& like);

// REQUIRES: the tensors are in host memory, the only place that this build computes in.
void CheckOnCpu(std::string_view what, std::initializer_list<const at::Tensor*> tensors);

}  // namespace keyhole
