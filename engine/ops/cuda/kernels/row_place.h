// Where the rows of a sequence lie: in pages, in a ring or one after another. Pure arithmetic.
#pragma once

#include <cstdint>

namespace keyhole::cuda {

enum class Element { kF32, kBF16, kInt8 };

// One head of one row: int8 codes are followed by their f32 scale.
constexpr std::int32_t HeadBytes(Element type, std::int32_t head_dim) {
  if (type == Element::kInt8) return head_dim + 4;
  return head_dim * (type == Element::kF32 ? 4 : 2);
}

// Rows of all layers. Pages are those of kv/kv_layout.h: [page][layer][page_size] rows. A ring
// holds row r of a layer at r % capacity; with a capacity above every row it is a plain array.
struct RowPlace {
  unsigned char* base = nullptr;  // memory that the device reaches; of layer 0
  std::int64_t row_bytes = 0;     // from a row to the next
  std::int64_t layer_bytes = 0;   // from a layer to the next
  std::int64_t page_bytes = 0;    // from a page to the next
  std::int32_t page_size = 0;     // rows of one layer in a page; 0: a ring
  std::int32_t capacity = 0;      // of the ring
};

// `pages`: page table of the sequence; not looked at for a ring.
constexpr std::int64_t RowOffset(const RowPlace& place,
                                 const std::int32_t* pages,
                                 std::int32_t layer,
                                 std::int32_t row) {
  const std::int64_t in_layer = layer * place.layer_bytes;
  if (place.page_size == 0) return in_layer + row % place.capacity * place.row_bytes;
  const std::int32_t page = row / place.page_size;
  return in_layer + pages[page] * place.page_bytes +
         (row - page * place.page_size) * place.row_bytes;
}

}  // namespace keyhole::cuda
