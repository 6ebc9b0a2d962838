// Where the compressed keys of a page's tokens lie. Pure arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>

namespace keyhole {

constexpr std::int32_t kDigestBlockTokens = 16;
constexpr std::int32_t kDigestBias = 128;

// A digest is `n_groups` vectors of `rank` codes, one vector per KV head or one for all. Tokens lie
// in blocks of 16, four dimensions of 16 tokens in 64 bytes, so that one product of 4-byte groups
// serves 16 tokens and no lane is summed across: [page_size / 16][n_groups][rank / 4][16][4] codes
// for each layer. A code in [-127, 127] is kept as a byte with kDigestBias added, since such
// products take one unsigned operand. A page holds all layers that keep digests ("slots").
struct DigestLayout {
  std::int32_t n_slots = 0;
  std::int32_t n_groups = 0;
  std::int32_t rank = 0;       // a multiple of 4
  std::int32_t page_size = 0;  // tokens, a multiple of kDigestBlockTokens

  constexpr std::size_t token_bytes() const { return static_cast<std::size_t>(n_groups) * rank; }
  constexpr std::size_t block_bytes() const { return token_bytes() * kDigestBlockTokens; }
  constexpr std::size_t slot_bytes() const { return token_bytes() * page_size; }
  constexpr std::size_t page_bytes() const { return slot_bytes() * n_slots; }

  // Of dimension `dim` of group `group` of the page's token `token`, from the slot's begin.
  constexpr std::size_t offset(std::int32_t token, std::int32_t group, std::int32_t dim) const {
    const std::size_t block = token / kDigestBlockTokens;
    const std::size_t quad = static_cast<std::size_t>(group) * (rank / 4) + dim / 4;
    return block * block_bytes() + quad * (4 * kDigestBlockTokens) +
           static_cast<std::size_t>(token % kDigestBlockTokens) * 4 + dim % 4;
  }
};

}  // namespace keyhole
