// Where digests lie in device memory: the layout of kv/digest_layout.h. Pure arithmetic.
#pragma once

#include <cstdint>

namespace keyhole::cuda {

constexpr std::int32_t kBlockTokens = 16;
constexpr std::int32_t kQuadBytes = 4 * kBlockTokens;  // four dimensions of a block's tokens
constexpr std::int32_t kLaneTokens = 4;                // whose codes of a quad are 16 bytes
constexpr std::int32_t kCodeBias = 128;
constexpr std::uint32_t kToSigned = 0x80808080U;  // xor: four biased codes to two's complement

// A slot of a page is [page_size / 16][n_groups][rank / 4][16][4] codes.
struct DigestPlace {
  unsigned char* base = nullptr;
  std::int64_t page_bytes = 0;  // from a page to the next
  std::int64_t slot_bytes = 0;  // from a layer's digests to the next layer's
  std::int32_t page_size = 0;   // a multiple of 16
  std::int32_t n_groups = 0;
  std::int32_t rank = 0;  // a multiple of 4
};

// Of the first quad of `group` of the token at `row`.
constexpr std::int64_t DigestOffset(const DigestPlace& place,
                                    const std::int32_t* pages,
                                    std::int32_t slot,
                                    std::int32_t row,
                                    std::int32_t group) {
  const std::int32_t page = row / place.page_size;
  const std::int32_t token = row - page * place.page_size;
  const std::int64_t block_bytes = std::int64_t{place.n_groups} * place.rank * kBlockTokens;
  return pages[page] * place.page_bytes + slot * place.slot_bytes +
         token / kBlockTokens * block_bytes + std::int64_t{group} * place.rank * kBlockTokens +
         token % kBlockTokens * 4;
}

}  // namespace keyhole::cuda
