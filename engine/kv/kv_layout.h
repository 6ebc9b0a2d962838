// Where one token's keys and values lie inside a page. Pure arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/types.h"

namespace keyhole {

// One head of one row: head_dim elements; int8 codes are followed by their f32 scale.
constexpr std::size_t HeadBytes(KvType type, std::int32_t head_dim) {
  const auto n = static_cast<std::size_t>(head_dim);
  switch (type) {
    case KvType::kF32:
      return 4 * n;
    case KvType::kBF16:
      return 2 * n;
    case KvType::kInt8:
      break;
  }
  return n + 4;
}

// A page holds `page_size` tokens of all layers: [n_layers][page_size] rows. A row is one token's K
// of all KV heads, then its V of all KV heads: [2][n_kv_heads] heads, one contiguous piece.
struct KvLayout {
  std::int32_t n_layers = 0;
  std::int32_t n_kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t page_size = 64;
  KvType type = KvType::kBF16;

  constexpr std::size_t kv_size() const { return static_cast<std::size_t>(n_kv_heads) * head_dim; }
  constexpr std::size_t head_bytes() const { return HeadBytes(type, head_dim); }
  constexpr std::size_t key_bytes() const { return n_kv_heads * head_bytes(); }  // or values
  constexpr std::size_t row_bytes() const { return 2 * key_bytes(); }
  constexpr std::size_t layer_bytes() const { return row_bytes() * page_size; }
  constexpr std::size_t page_bytes() const { return layer_bytes() * n_layers; }
  constexpr std::size_t offset(std::int32_t layer, std::int32_t slot) const {
    return layer * layer_bytes() + slot * row_bytes();
  }
  // Rows of all pages in the order of their addresses: row n lies n * row_bytes() from the first.
  constexpr std::int32_t row_number(PageId page, std::int32_t layer, std::int32_t slot) const {
    return (page * n_layers + layer) * page_size + slot;
  }
};

constexpr std::int32_t PagesForTokens(std::int64_t n_tokens, std::int32_t page_size) {
  return static_cast<std::int32_t>((n_tokens + page_size - 1) / page_size);
}

}  // namespace keyhole
