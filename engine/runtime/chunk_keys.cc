#include "engine/runtime/chunk_keys.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/sha256.h"

namespace keyhole {
namespace {

ChunkKey RootKey(const PrefixIdentity& identity) {
  // Lengths first: no salt and scope can pass for another pair.
  const std::string text = absl::StrCat(identity.salt.size(),
                                        ":",
                                        std::string(identity.salt),
                                        identity.scope.size(),
                                        ":",
                                        std::string(identity.scope),
                                        identity.force_full_attention ? " full" : "");
  return Sha256(std::as_bytes(std::span(text)));
}

}  // namespace

std::vector<ChunkKey> ChunkKeys(const PrefixIdentity& identity,
                                std::span<const TokenId> tokens,
                                std::int32_t chunk_size) {
  std::vector<ChunkKey> keys;
  std::vector<unsigned char> bytes(sizeof(ChunkKey) + chunk_size * sizeof(TokenId));
  ChunkKey last = RootKey(identity);
  for (std::size_t begin = 0; begin + chunk_size <= tokens.size(); begin += chunk_size) {
    std::memcpy(bytes.data(), last.data(), sizeof(ChunkKey));
    std::memcpy(bytes.data() + sizeof(ChunkKey), &tokens[begin], chunk_size * sizeof(TokenId));
    last = Sha256(std::as_bytes(std::span(bytes)));
    keys.push_back(last);
  }
  return keys;
}

}  // namespace keyhole
