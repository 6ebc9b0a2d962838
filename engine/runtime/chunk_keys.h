// Identities of a prompt's chunks for the prefix cache.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kv/prefix_index.h"
#include "engine/types.h"

namespace keyhole {

// What the rows of a prompt depend on beside its tokens.
struct PrefixIdentity {
  std::string_view salt = {};   // of the engine: model, sizes, policy, ...
  std::string_view scope = {};  // of the request: who may share
  bool force_full_attention = false;
};

// Key i is SHA-256 of key i-1 and the tokens of chunk i; before the first comes SHA-256 of the
// identity. tokens.size() / chunk_size keys: only full chunks have one.
std::vector<ChunkKey> ChunkKeys(const PrefixIdentity& identity,
                                std::span<const TokenId> tokens,
                                std::int32_t chunk_size);

}  // namespace keyhole
