#include "engine/ops/tensor_check.h"

#include <stdexcept>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/ops/op_test_support.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;
using ::testing::Throws;
using ::testing::ThrowsMessage;

TEST(TensorCheck, FirstTensorGivesTheSize) {
  NamedSize n("n");
  NamedSize hidden("hidden", 8);
  CheckTensor("Op: x", EmptyTensor({3, 8}), {&n, &hidden});
  EXPECT_EQ(n.value(), 3);
  EXPECT_THAT(
      [&] {
        CheckTensor("Op: y", EmptyTensor({4, 8}), {&n, &hidden});
      },
      ThrowsMessage<std::logic_error>(HasSubstr("Op: y: dimension 0 of [4, 8] should be n = 3")));
}

TEST(TensorCheck, WrongKindOfTensor) {
  NamedSize n("n");
  const at::Tensor x = EmptyTensor({3, 8});
  EXPECT_THAT([&] { CheckTensor("Op: x", at::Tensor(), {&n}); },
              ThrowsMessage<std::logic_error>(HasSubstr("undefined")));
  EXPECT_THAT([&] { CheckTensor("Op: x", x, {&n}); },
              ThrowsMessage<std::logic_error>(HasSubstr("expected 1 dimensions, got [3, 8]")));
  EXPECT_THAT(
      [&] {
        CheckTensor("Op: x", x.t(), {&n, &n});
      },
      ThrowsMessage<std::logic_error>(HasSubstr("contiguous")));
  EXPECT_THAT(
      [&] {
        CheckTensor("Op: x", x.to(at::kDouble), {&n, &n});
      },
      ThrowsMessage<std::logic_error>(HasSubstr("float32")));
}

TEST(TensorCheck, RowsAndShapes) {
  NamedSize n("n");
  EXPECT_EQ(CheckRows("Op: x", EmptyTensor({2, 3, 5}), n), 6);
  EXPECT_EQ(n.value(), 5);
  CheckSameShape("Op: y", EmptyTensor({2, 3}), EmptyTensor({2, 3}));
  EXPECT_THAT(
      [] {
        CheckSameShape("Op: y", EmptyTensor({3, 2}), EmptyTensor({2, 3}));
      },
      ThrowsMessage<std::logic_error>(HasSubstr("shape [3, 2] should be [2, 3]")));
  EXPECT_THAT([] { CheckOp(false, "Op", "odd"); }, Throws<std::logic_error>());
}

}  // namespace
}  // namespace keyhole
