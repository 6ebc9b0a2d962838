#include "engine/model/weight_stack.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace keyhole {
namespace {

constexpr std::int64_t kColumns = 64;

// Tensors in memory; rows of those named "turned..." are stored in reverse.
class FakeSource final : public WeightSource {
 public:
  void AddF32(const std::string& name, std::int64_t n_rows, std::int64_t n_cols) {
    Tensor& tensor = tensors_[name];
    tensor.view = {WeightType::kF32, n_rows, n_cols, {}};
    std::vector<float> values(n_rows * n_cols);
    for (float& value : values) value = std::normal_distribution<float>()(random_);
    tensor.bytes.resize(values.size() * sizeof(float));
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  }

  // Blocks of 32 values: an f16 scale of 1/64, then signed bytes.
  void AddQ8(const std::string& name, std::int64_t n_rows) {
    Tensor& tensor = tensors_[name];
    tensor.view = {WeightType::kQ8_0, n_rows, kColumns, {}};
    constexpr std::size_t kBlockBytes = 34;
    tensor.bytes.resize(n_rows * kColumns / 32 * kBlockBytes);
    for (std::size_t i = 0; i < tensor.bytes.size(); ++i) {
      const std::size_t in_block = i % kBlockBytes;
      const auto random_byte = static_cast<std::byte>(random_() & 0xFF);
      tensor.bytes[i] = in_block == 0   ? std::byte{0}
                        : in_block == 1 ? std::byte{0x24}
                                        : random_byte;
    }
  }

  const ModelConfig& config() const override { return config_; }
  const std::string& content_hash() const override { return hash_; }
  bool Has(std::string_view name) const override { return tensors_.contains(std::string(name)); }
  absl::StatusOr<WeightView> Get(std::string_view name) const override {
    const auto found = tensors_.find(std::string(name));
    if (found == tensors_.end()) return absl::NotFoundError(std::string(name));
    WeightView view = found->second.view;
    view.bytes = found->second.bytes;
    return view;
  }
  std::int64_t RowOf(std::string_view name, std::int64_t row) const override {
    if (!name.starts_with("turned")) return row;
    const WeightView& view = tensors_.at(std::string(name)).view;
    return (view.n_rows == 1 ? view.n_cols : view.n_rows) - 1 - row;
  }
  TokenizerSource tokenizer() const override { return {}; }

 private:
  struct Tensor {
    WeightView view;
    std::vector<std::byte> bytes;
  };

  std::map<std::string, Tensor> tensors_;
  std::mt19937 random_{11};
  ModelConfig config_;
  std::string hash_;
};

class WeightStackTest : public ::testing::Test {
 protected:
  // Rows of the stack by definition, in f64: parts in order, stored rows looked up, bias added.
  std::vector<double> Expected(const std::vector<StackPart>& parts, const at::Tensor& x) const {
    std::vector<double> result;
    for (const StackPart& part : parts) {
      const WeightView view = *source_.Get(part.weight);
      const ShardRange rows = part.rows.value_or(ShardRange{0, view.n_rows});
      const ShardRange cols = part.cols.value_or(ShardRange{0, view.n_cols});
      for (std::int64_t row = rows.begin; row < rows.end(); ++row) {
        std::vector<float> weights(view.n_cols);
        DequantizeRow(view, source_.RowOf(part.weight, row), weights);
        double sum = 0;
        for (std::int64_t i = 0; i < cols.size; ++i) {
          sum += static_cast<double>(weights[cols.begin + i]) * x.const_data_ptr<float>()[i];
        }
        result.push_back(sum + Bias(part, row));
      }
    }
    return result;
  }

  double Bias(const StackPart& part, std::int64_t row) const {
    if (part.bias.empty()) return 0;
    const WeightView view = *source_.Get(part.bias);
    std::vector<float> values(view.n_cols);
    DequantizeRow(view, 0, values);
    return values[source_.RowOf(part.bias, row)];
  }

  void ExpectProduct(const std::vector<StackPart>& parts, WeightMode mode, double tolerance) {
    const absl::StatusOr<PackedLinear> packed = PackStack(source_, parts, mode, device_);
    ASSERT_TRUE(packed.ok()) << packed.status();
    at::Tensor x = at::empty({1, packed->n_in()}, at::kFloat);
    for (std::int64_t i = 0; i < packed->n_in(); ++i) {
      x.mutable_data_ptr<float>()[i] = static_cast<float>(std::sin(i));
    }
    at::Tensor out = at::empty({1, packed->n_out()}, at::kFloat);
    Linear(device_, x, *packed, out);
    const std::vector<double> expected = Expected(parts, x);
    ASSERT_EQ(expected.size(), packed->n_out());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(out.const_data_ptr<float>()[i], expected[i], tolerance) << "row " << i;
    }
  }

  FakeSource source_;
  Device device_{2};
};

TEST_F(WeightStackTest, PutsPartsBelowOneAnotherWithBiasesAndStoredRows) {
  source_.AddF32("turned_q", 5, kColumns);
  source_.AddF32("turned_q_bias", 1, 5);
  source_.AddF32("k", 3, kColumns);
  source_.AddF32("k_bias", 1, 3);
  const std::vector<StackPart> parts = {{"turned_q", "turned_q_bias"}, {"k", "k_bias"}};
  ExpectProduct(parts, WeightMode::kF32, 1e-4);
  ExpectProduct(parts, WeightMode::kBF16, 0.1);
  ExpectProduct(parts, WeightMode::kInt8, 0.3);
}

TEST_F(WeightStackTest, QuantisedPartsKeepTheirCodes) {
  source_.AddQ8("turned_a", 4);
  source_.AddQ8("b", 20);
  const std::vector<StackPart> parts = {{"turned_a", ""}, {"b", ""}};
  ExpectProduct(parts, WeightMode::kF32, 1e-3);
  ExpectProduct(parts, WeightMode::kAuto, 0.3);  // the input's rounding alone
  const auto automatic = PackStack(source_, parts, WeightMode::kAuto, device_);
  const auto f32 = PackStack(source_, parts, WeightMode::kF32, device_);
  ASSERT_TRUE(automatic.ok() && f32.ok());
  EXPECT_LT(automatic->bytes(), f32->bytes() / 3);
}

TEST_F(WeightStackTest, MixedEncodingsAreRequantised) {
  source_.AddQ8("a", 4);
  source_.AddF32("b", 3, kColumns);
  ExpectProduct({{"a", ""}, {"b", ""}}, WeightMode::kAuto, 0.3);
}

TEST_F(WeightStackTest, FloatingPointBecomesBf16UnderAuto) {
  source_.AddF32("a", 16, kColumns);
  const auto automatic = PackStack(source_, {{"a", ""}}, WeightMode::kAuto, device_);
  const auto bf16 = PackStack(source_, {{"a", ""}}, WeightMode::kBF16, device_);
  ASSERT_TRUE(automatic.ok() && bf16.ok());
  EXPECT_EQ(automatic->bytes(), bf16->bytes());
}

TEST_F(WeightStackTest, PartsOfMatricesAreThoseOfTheWholeOnes) {
  source_.AddF32("turned_q", 5, kColumns);
  source_.AddF32("turned_q_bias", 1, 5);
  source_.AddQ8("k", 20);
  source_.AddF32("k_bias", 1, 20);
  ExpectProduct(
      {{"turned_q", "turned_q_bias", ShardRange{1, 3}}, {"k", "k_bias", ShardRange{16, 4}}},
      WeightMode::kF32,
      1e-3);
  const std::vector<StackPart> columns = {{"k", "", std::nullopt, ShardRange{32, 32}}};
  ExpectProduct(columns, WeightMode::kF32, 1e-3);
  ExpectProduct(columns, WeightMode::kAuto, 0.3);  // codes as they are in the file
}

TEST_F(WeightStackTest, ColumnsThatCutABlockAreRefused) {
  source_.AddQ8("k", 20);
  for (const ShardRange cols : {ShardRange{16, 32}, ShardRange{0, 48}}) {
    const auto packed =
        PackStack(source_, {{"k", "", std::nullopt, cols}}, WeightMode::kF32, device_);
    EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(WeightStackTest, AMissingTensorIsNotFound) {
  source_.AddF32("a", 4, kColumns);
  const auto weight = PackStack(source_, {{"gone", ""}}, WeightMode::kAuto, device_);
  const auto bias = PackStack(source_, {{"a", "gone"}}, WeightMode::kAuto, device_);
  EXPECT_EQ(weight.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(bias.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace keyhole
