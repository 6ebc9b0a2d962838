#include "engine/model/weight_stack.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "engine/status_macros.h"

namespace keyhole {
namespace {

struct Matrix {
  std::string name;
  WeightView view;
  std::int64_t first_row = 0;  // in the stack
};

// The matrices, and where a row of the stack lies in them.
class Stack {
 public:
  explicit Stack(const WeightSource* source) : source_(source) {}

  absl::Status Add(const StackPart& part) {
    KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_->Get(part.weight));
    matrices_.push_back({part.weight, view, n_rows_});
    n_rows_ += view.n_rows;
    return part.bias.empty() ? absl::OkStatus() : AddBias(part.bias, view.n_rows);
  }

  std::int64_t n_rows() const { return n_rows_; }
  std::int64_t n_cols() const { return matrices_.front().view.n_cols; }
  std::span<const float> bias() const { return bias_; }

  // The encoding of all matrices, if it is one.
  std::optional<WeightType> CommonType() const {
    const WeightType type = matrices_.front().view.type;
    const bool same = std::ranges::all_of(
        matrices_, [&](const Matrix& matrix) { return matrix.view.type == type; });
    return same ? std::optional(type) : std::nullopt;
  }

  bool AnyQuantized() const {
    return std::ranges::any_of(matrices_, [](const Matrix& matrix) {
      const WeightType type = matrix.view.type;
      return type != WeightType::kF32 && type != WeightType::kF16 && type != WeightType::kBF16;
    });
  }

  void ReadRow(std::int64_t row, std::span<float> out) const {
    const Matrix& matrix = MatrixOf(row);
    DequantizeRow(matrix.view, StoredRow(matrix, row), out);
  }

  const std::byte* RowBytes(std::int64_t row) const {
    const Matrix& matrix = MatrixOf(row);
    const auto stored = static_cast<std::size_t>(StoredRow(matrix, row));
    return matrix.view.bytes.data() + stored * matrix.view.row_bytes();
  }

 private:
  const Matrix& MatrixOf(std::int64_t row) const {
    const auto after = std::ranges::upper_bound(matrices_, row, {}, &Matrix::first_row);
    return *std::prev(after);
  }

  std::int64_t StoredRow(const Matrix& matrix, std::int64_t row) const {
    return source_->RowOf(matrix.name, row - matrix.first_row);
  }

  absl::Status AddBias(const std::string& name, std::int64_t n) {
    KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_->Get(name));
    std::vector<float> stored(view.n_cols);
    DequantizeRow(view, 0, stored);
    for (std::int64_t i = 0; i < n; ++i) bias_.push_back(stored[source_->RowOf(name, i)]);
    return absl::OkStatus();
  }

  const WeightSource* source_;
  std::vector<Matrix> matrices_;
  std::vector<float> bias_;
  std::int64_t n_rows_ = 0;
};

std::optional<QuantizedEncoding> EncodingOf(WeightType type) {
  switch (type) {
    case WeightType::kQ4_0:
      return QuantizedEncoding::kQ4_0;
    case WeightType::kQ4_1:
      return QuantizedEncoding::kQ4_1;
    case WeightType::kQ5_0:
      return QuantizedEncoding::kQ5_0;
    case WeightType::kQ5_1:
      return QuantizedEncoding::kQ5_1;
    case WeightType::kQ8_0:
      return QuantizedEncoding::kQ8_0;
    case WeightType::kQ4_K:
      return QuantizedEncoding::kQ4_K;
    case WeightType::kQ5_K:
      return QuantizedEncoding::kQ5_K;
    case WeightType::kQ6_K:  // its scales cover 16 values
    case WeightType::kF32:
    case WeightType::kF16:
    case WeightType::kBF16:
      return std::nullopt;
  }
  return std::nullopt;
}

LinearFormat FormatOf(WeightMode mode, const Stack& stack) {
  switch (mode) {
    case WeightMode::kF32:
      return LinearFormat::kF32;
    case WeightMode::kBF16:
      return LinearFormat::kBF16;
    case WeightMode::kInt8:
      return LinearFormat::kInt8;
    case WeightMode::kAuto:
      break;
  }
  return stack.AnyQuantized() ? LinearFormat::kInt8 : LinearFormat::kBF16;
}

}  // namespace

absl::StatusOr<PackedLinear> PackStack(const WeightSource& source,
                                       const std::vector<StackPart>& parts,
                                       WeightMode mode,
                                       Device& device) {
  Stack stack(&source);
  for (const StackPart& part : parts) KEYHOLE_RETURN_IF_ERROR(stack.Add(part));
  const LinearFormat format = FormatOf(mode, stack);
  const std::optional<WeightType> type = stack.CommonType();
  const std::optional<QuantizedEncoding> encoding = type ? EncodingOf(*type) : std::nullopt;
  if (format == LinearFormat::kInt8 && encoding) {
    const QuantizedRows rows = {*encoding, [&](std::int64_t row) { return stack.RowBytes(row); }};
    return PackedLinear::PackQuantized(device, stack.n_rows(), stack.n_cols(), rows, stack.bias());
  }
  const WeightRowReader rows = [&](std::int64_t row, std::span<float> out) {
    stack.ReadRow(row, out);
  };
  return PackedLinear::Pack(device, format, stack.n_rows(), stack.n_cols(), rows, stack.bias());
}

}  // namespace keyhole
