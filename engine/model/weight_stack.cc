#include "engine/model/weight_stack.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "engine/model/file_error.h"
#include "engine/model/weight_type.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

struct Matrix {
  std::string name;
  WeightView view;
  std::int64_t first_row = 0;  // in the stack
  ShardRange rows;             // of the matrix
  ShardRange cols;
};

absl::Status CheckColumns(const Matrix& matrix) {
  const WeightTypeInfo& info = InfoOf(matrix.view.type);
  const ShardRange& cols = matrix.cols;
  if (cols.begin % info.block_size == 0 && cols.size % info.block_size == 0) {
    return absl::OkStatus();
  }
  return InvalidFile("columns {} to {} of {} cut a block of {} values of {}",
                     cols.begin,
                     cols.end(),
                     matrix.name,
                     info.block_size,
                     info.name);
}

// The matrices, and where a row of the stack lies in them.
class Stack {
 public:
  explicit Stack(const WeightSource* source) : source_(source) {}

  absl::Status Add(const StackPart& part) {
    KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_->Get(part.weight));
    const Matrix matrix = {.name = part.weight,
                           .view = view,
                           .first_row = n_rows_,
                           .rows = part.rows.value_or(ShardRange{0, view.n_rows}),
                           .cols = part.cols.value_or(ShardRange{0, view.n_cols})};
    KEYHOLE_RETURN_IF_ERROR(CheckColumns(matrix));
    matrices_.push_back(matrix);
    n_rows_ += matrix.rows.size;
    return part.bias.empty() ? absl::OkStatus() : AddBias(part.bias, matrix.rows);
  }

  std::int64_t n_rows() const { return n_rows_; }
  std::int64_t n_cols() const { return matrices_.front().cols.size; }
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
    DequantizeColumns(matrix.view, StoredRow(matrix, row), matrix.cols.begin, out);
  }

  const std::byte* RowBytes(std::int64_t row) const {
    const Matrix& matrix = MatrixOf(row);
    const auto stored = static_cast<std::size_t>(StoredRow(matrix, row));
    return matrix.view.bytes.data() + stored * matrix.view.row_bytes() +
           InfoOf(matrix.view.type).BytesOf(matrix.cols.begin);
  }

 private:
  const Matrix& MatrixOf(std::int64_t row) const {
    const auto after = std::ranges::upper_bound(matrices_, row, {}, &Matrix::first_row);
    return *std::prev(after);
  }

  std::int64_t StoredRow(const Matrix& matrix, std::int64_t row) const {
    return source_->RowOf(matrix.name, row - matrix.first_row + matrix.rows.begin);
  }

  absl::Status AddBias(const std::string& name, const ShardRange& rows) {
    KEYHOLE_ASSIGN_OR_RETURN(const WeightView view, source_->Get(name));
    std::vector<float> stored(view.n_cols);
    DequantizeRow(view, 0, stored);
    for (std::int64_t i = rows.begin; i < rows.end(); ++i) {
      bias_.push_back(stored[source_->RowOf(name, i)]);
    }
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
