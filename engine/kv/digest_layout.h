// Where the compressed keys of a page's tokens lie. Pure arithmetic.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace keyhole {

constexpr std::int32_t kDigestBlockTokens = 16;
constexpr std::int32_t kDigestBias = 128;
constexpr std::int32_t kMostCoarseDims = 32;  // so that sums of products fit 16 bits
constexpr std::int32_t kCoarseLineBytes = 4 * kDigestBlockTokens;

// Of a block and group, where so many dimensions are kept a second time.
constexpr std::int32_t CoarseLines(std::int32_t coarse_dims) {
  return coarse_dims == 0 ? 0 : 1 + (coarse_dims + 7) / 16;
}

// A code with its bias in two bits, which stand for -48, -16, 16 and 48: steps of about a standard
// deviation of the codes, the best ones where they are normal.
constexpr std::int32_t TwoBits(std::uint8_t code) { return std::clamp((code - 64) / 32, 0, 3); }

// A digest is `n_groups` vectors of `rank` codes, one vector per KV head or one for all. Tokens lie
// in blocks of 16, four dimensions of 16 tokens in 64 bytes, so that one product of 4-byte groups
// serves 16 tokens and no lane is summed across: [page_size / 16][n_groups][rank / 4][16][4] codes
// for each layer. A code in [-127, 127] is kept as a byte with kDigestBias added, since such
// products take one unsigned operand. A page holds all layers that keep digests ("slots").
//
// The first `coarse_dims` dimensions are kept a second time in fewer bits: a block is lines of
// [16][4] bytes, some for each group. The first line has the upper four bits of eight dimensions: d
// in the lower half of byte d, d + 4 in its upper half. Each other line has two bits of sixteen: d,
// d + 4, d + 8 and d + 12 in byte d, from its lowest bits up; those beyond coarse_dims are zeros.
struct DigestLayout {
  std::int32_t n_slots = 0;
  std::int32_t n_groups = 0;
  std::int32_t rank = 0;         // a multiple of 4
  std::int32_t page_size = 0;    // tokens, a multiple of kDigestBlockTokens
  std::int32_t coarse_dims = 0;  // a multiple of 8, at most kMostCoarseDims and the rank; 0: none

  constexpr std::size_t token_bytes() const { return static_cast<std::size_t>(n_groups) * rank; }
  constexpr std::size_t block_bytes() const { return token_bytes() * kDigestBlockTokens; }
  constexpr std::size_t slot_bytes() const { return token_bytes() * page_size; }
  constexpr std::size_t page_bytes() const { return slot_bytes() * n_slots; }

  constexpr std::size_t coarse_block_bytes() const {
    return static_cast<std::size_t>(n_groups) * CoarseLines(coarse_dims) * kCoarseLineBytes;
  }
  constexpr std::size_t coarse_slot_bytes() const {
    return coarse_block_bytes() * (page_size / kDigestBlockTokens);
  }
  // All that a page takes.
  constexpr std::size_t total_page_bytes() const {
    return page_bytes() + coarse_slot_bytes() * n_slots;
  }

  // The four bytes of a line and token, from the coarse slot's begin.
  constexpr std::size_t coarse_offset(std::int32_t token,
                                      std::int32_t group,
                                      std::int32_t line) const {
    const std::size_t block = token / kDigestBlockTokens;
    const std::size_t at = static_cast<std::size_t>(group) * CoarseLines(coarse_dims) + line;
    return block * coarse_block_bytes() + at * kCoarseLineBytes +
           static_cast<std::size_t>(token % kDigestBlockTokens) * 4;
  }

  // Of dimension `dim` of group `group` of the page's token `token`, from the slot's begin.
  constexpr std::size_t offset(std::int32_t token, std::int32_t group, std::int32_t dim) const {
    const std::size_t block = token / kDigestBlockTokens;
    const std::size_t quad = static_cast<std::size_t>(group) * (rank / 4) + dim / 4;
    return block * block_bytes() + quad * (4 * kDigestBlockTokens) +
           static_cast<std::size_t>(token % kDigestBlockTokens) * 4 + dim % 4;
  }
};

}  // namespace keyhole
