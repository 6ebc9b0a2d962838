// Gives sequences their pages: those of a cached prefix where there is one, free ones for the rest.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/page_table.h"
#include "engine/kv/prefix_index.h"
#include "engine/request/sequence.h"
#include "engine/scheduler/prefix_rules.h"
#include "engine/telemetry/engine_observer.h"

namespace keyhole {

struct PrefixCacheSettings {
  std::int32_t page_size = 64;  // divides rules.chunk_size
  std::int32_t max_pages = 0;   // that entries may hold; 0: no cache
  PrefixRules rules = {};
  std::string salt = {};  // all that the rows of the same tokens depend on, requests aside
};

// All pages of a sequence, and how many of its tokens are in them already.
struct PageGrant {
  PageTable pages;
  std::int32_t cached_len = 0;
};

// Cached pages that no sequence uses count as free: they are evicted when a sequence needs them.
// A sequence that takes over pages computes the same bytes as one that starts cold.
// Thread: engine thread only. REQUIRES: the pool outlives the cache and its sequences.
class PrefixCache {
 public:
  PrefixCache(PrefixCacheSettings settings, PagePool* pool);

  // Tokens of the prompt that would be taken over if it started now.
  std::int32_t CachedLen(const Sequence& sequence);

  // Pages for max_len() tokens; nothing if there are too few. The prefix that it takes over is not
  // evicted for it.
  std::optional<PageGrant> ReservePages(const Sequence& sequence);

  // Part of the prompt was computed and committed: full chunks that others may use become known.
  void OnPrefill(const Sequence& sequence);

  // The sequence goes.
  void OnEnd(RequestId id) { keys_.erase(id); }

  PrefixCacheStats stats() const;
  std::vector<std::vector<PageId>> Holders() const { return index_.Holders(); }

 private:
  bool enabled() const { return settings_.max_pages > 0; }
  std::span<const ChunkKey> KeysOf(const Sequence& sequence);
  std::span<const ChunkKey> CachedKeys(const Sequence& sequence);

  PrefixCacheSettings settings_;
  PagePool* pool_;
  PrefixIndex index_;
  absl::flat_hash_map<RequestId, std::vector<ChunkKey>> keys_;  // of the publishable chunks
  std::int64_t queried_tokens_ = 0;
  std::int64_t hit_tokens_ = 0;
};

}  // namespace keyhole
