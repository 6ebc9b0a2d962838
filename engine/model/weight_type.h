// Block sizes and names of the encodings that weights are stored in.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/model/weight_source.h"

namespace keyhole {

// Source: the block structures of ggml, as the GGUF specification lists them.
struct WeightTypeInfo {
  std::string_view name;
  std::int64_t block_size;   // values in a block
  std::int64_t block_bytes;  // bytes of a block

  // Of whole blocks.
  std::int64_t BytesOf(std::int64_t n_values) const { return n_values / block_size * block_bytes; }
};

const WeightTypeInfo& InfoOf(WeightType type);

// Bytes of a row of `n_cols` values; nothing if blocks do not divide the row or the size overflows.
std::optional<std::uint64_t> RowBytes(WeightType type, std::uint64_t n_cols);

}  // namespace keyhole
