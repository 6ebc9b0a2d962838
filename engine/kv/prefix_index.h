// Pages of prompt chunks that were computed before, found by what they hold.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/page_table.h"
#include "engine/types.h"

namespace keyhole {

// Identity of a chunk: SHA-256 of everything that its pages are computed from, all tokens before it
// included. Cryptographic, since two chunks of one key would show one caller's text to another.
using ChunkKey = std::array<unsigned char, 32>;

struct PrefixIndexLimits {
  std::int32_t pages_per_chunk = 1;
  std::int32_t max_pages = 0;
};

// A forest of chunks, each below the one before it, one reference to each of their pages. An entry
// whose pages nobody else holds is idle. Leaves go first, the least recently used of them; entries
// whose pages are in use go only where idle ones could not go without them.
// Thread: engine thread only. REQUIRES: the pool outlives the index.
class PrefixIndex {
 public:
  PrefixIndex(const PrefixIndexLimits& limits, PagePool* pool) : limits_(limits), pool_(pool) {}
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;
  ~PrefixIndex();

  // How many of the chunks `keys`, from the first on, are here. Does not count as use.
  std::int32_t Match(std::span<const ChunkKey> keys) const;

  // The pages of these chunks, one more reference each; counts as use. REQUIRES: all are here.
  PageTable Acquire(std::span<const ChunkKey> keys);

  // Makes the chunks `keys` of one sequence, from its first on, known with its pages. Those that
  // are here keep the pages they have. Where the limit has no room without dropping the beginning
  // of this very sequence, its later chunks stay out.
  // REQUIRES: pages.size() == keys.size() * pages_per_chunk, in use and wholly computed.
  void Publish(std::span<const ChunkKey> keys, std::span<const PageId> pages);

  // Drops entries until the pool has `n_free` free pages. Returns false, and then drops nothing,
  // if all idle entries together are too few.
  bool EvictFor(std::int32_t n_free);

  std::int32_t n_pages() const {
    return static_cast<std::int32_t>(nodes_.size()) * limits_.pages_per_chunk;
  }
  std::int32_t n_idle_pages() const;
  std::int64_t n_evicted_pages() const { return n_evicted_pages_; }
  std::vector<std::vector<PageId>> Holders() const;  // by entry, for invariants

 private:
  struct Node {
    ChunkKey key;
    Node* parent = nullptr;
    std::int32_t n_children = 0;
    std::int64_t last_used = 0;  // unique
    std::vector<PageId> pages;
  };

  Node* Find(const ChunkKey& key) const;
  Node* Insert(const ChunkKey& key, Node* parent, std::span<const PageId> pages);
  bool MakeRoom(const Node* parent);
  void Touch(Node* node);
  void Drop(Node* node);
  bool IsIdle(const Node& node) const;
  Node* NextVictim() const;

  PrefixIndexLimits limits_;
  PagePool* pool_;
  absl::flat_hash_map<ChunkKey, std::unique_ptr<Node>> nodes_;
  std::map<std::int64_t, Node*> leaves_;  // by last_used
  std::int64_t clock_ = 0;
  std::int64_t n_evicted_pages_ = 0;
};

}  // namespace keyhole
