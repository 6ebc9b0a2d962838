#include "tests/unit/ops/op_test_support.h"

#include <ATen/ops/empty.h>

#include <cstring>

#include "engine/ops/half_float.h"

namespace keyhole {

at::Tensor EmptyTensor(std::initializer_list<std::int64_t> shape) {
  return at::empty(at::IntArrayRef(shape), at::kFloat);
}

PackedLinear PackOrDie(Device& device,
                       LinearFormat format,
                       const Matrix& matrix,
                       std::span<const float> bias) {
  auto packed =
      PackedLinear::Pack(device, format, matrix.n_out, matrix.n_in, matrix.reader(), bias);
  EXPECT_TRUE(packed.ok()) << packed.status();
  return *std::move(packed);
}

std::vector<std::byte> RandomQuantizedRows(QuantizedEncoding encoding,
                                           std::int64_t n_out,
                                           std::int64_t n_in,
                                           unsigned seed) {
  const QuantizedTraits& traits = TraitsOf(encoding);
  std::vector<std::byte> bytes(n_out * (n_in / traits.block_size) * traits.block_bytes);
  std::mt19937 random(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  for (std::size_t at = 0; at < bytes.size(); at += traits.block_bytes) {
    for (int i = 0; i < 2; ++i) {
      const std::uint16_t half = Float32ToHalf(static_cast<float>(random() % 1000) * 1e-5F);
      std::memcpy(&bytes[at + 2 * i], &half, sizeof(half));
    }
  }
  return bytes;
}

std::vector<float> QuantizedValues(const QuantizedRows& rows,
                                   std::int64_t n_out,
                                   std::int64_t n_in) {
  std::vector<std::uint8_t> codes(n_in);
  std::vector<float> scales(n_in / 32);
  std::vector<float> offsets(n_in / 32);
  std::vector<float> values;
  for (std::int64_t row = 0; row < n_out; ++row) {
    SplitRow(rows.encoding, rows.row(row), {codes, scales, offsets});
    for (std::int64_t k = 0; k < n_in; ++k) {
      values.push_back(scales[k / 32] *
                           static_cast<float>(codes[k] - TraitsOf(rows.encoding).zero) +
                       offsets[k / 32]);
    }
  }
  return values;
}

}  // namespace keyhole
