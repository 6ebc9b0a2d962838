// The block encodings of quantised model files that a packed weight can hold without loss.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace keyhole {

// Source: the block structures of ggml, as the GGUF specification lists them.
// NOLINTNEXTLINE(readability-identifier-naming): the formats' names
enum class QuantizedEncoding { kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ4_K, kQ5_K };

// A weight matrix in a file's own encoding. `row` gives the bytes of a row; several threads call it
// at once.
struct QuantizedRows {
  QuantizedEncoding encoding = QuantizedEncoding::kQ8_0;
  std::function<const std::byte*(std::int64_t row)> row;
};

// value = scale * (code - zero) + offset; scale and offset are shared by 32 values.
struct QuantizedTraits {
  int block_size;   // values in a block of the file; divides n_in
  int block_bytes;  // bytes of such a block
  int code_bits;    // 4: codes 0 ... 15; 8: codes 0 ... 255
  int zero;
  bool half_scales;  // scales and offsets are f16 numbers
  bool has_offsets;
};

const QuantizedTraits& TraitsOf(QuantizedEncoding encoding);

struct QuantizedRow {
  std::span<std::uint8_t> codes;  // [n_in]
  std::span<float> scales;        // [n_in / 32]
  std::span<float> offsets;       // [n_in / 32]; untouched if the encoding has none
};

// Takes one row of a file apart.
void SplitRow(QuantizedEncoding encoding, const std::byte* row, const QuantizedRow& out);

}  // namespace keyhole
