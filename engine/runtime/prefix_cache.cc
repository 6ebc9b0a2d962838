#include "engine/runtime/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "engine/kv/kv_layout.h"
#include "engine/kv/reservation.h"
#include "engine/runtime/chunk_keys.h"

namespace keyhole {

PrefixCache::PrefixCache(PrefixCacheSettings settings, PagePool* pool)
    : settings_(std::move(settings)),
      pool_(pool),
      index_({.pages_per_chunk = settings_.rules.chunk_size / settings_.page_size,
              .max_pages = settings_.max_pages},
             pool) {}

std::int32_t PrefixCache::CachedLen(const Sequence& sequence) {
  return static_cast<std::int32_t>(CachedKeys(sequence).size()) * settings_.rules.chunk_size;
}

std::optional<PageGrant> PrefixCache::ReservePages(const Sequence& sequence) {
  const std::span<const ChunkKey> cached = CachedKeys(sequence);
  PageTable shared = index_.Acquire(cached);  // in use from here on: safe from eviction
  const std::int32_t n_pages = PagesForTokens(sequence.max_len(), settings_.page_size);
  const auto n_shared = static_cast<std::int32_t>(shared.pages().size());
  if (!index_.EvictFor(n_pages - n_shared)) return std::nullopt;
  auto reservation = Reservation::Reserve(pool_, n_pages, std::move(shared));
  if (!reservation.ok()) return std::nullopt;
  const auto cached_len = static_cast<std::int32_t>(cached.size()) * settings_.rules.chunk_size;
  if (enabled()) queried_tokens_ += sequence.prompt_len();
  hit_tokens_ += cached_len;
  return PageGrant{.pages = (*std::move(reservation)).Commit(), .cached_len = cached_len};
}

void PrefixCache::OnPrefill(const Sequence& sequence) {
  const std::span<const ChunkKey> keys = KeysOf(sequence);
  const std::size_t computed =
      static_cast<std::size_t>(sequence.computed_len() / settings_.rules.chunk_size);
  const std::size_t n = std::min(keys.size(), computed);
  const std::size_t pages_per_chunk =
      static_cast<std::size_t>(settings_.rules.chunk_size / settings_.page_size);
  index_.Publish(keys.first(n), sequence.pages().pages().first(n * pages_per_chunk));
}

PrefixCacheStats PrefixCache::stats() const {
  return {.queried_tokens = queried_tokens_,
          .hit_tokens = hit_tokens_,
          .evicted_pages = index_.n_evicted_pages(),
          .pages = index_.n_pages(),
          .idle_pages = index_.n_idle_pages()};
}

std::span<const ChunkKey> PrefixCache::KeysOf(const Sequence& sequence) {
  if (!enabled()) return {};
  const auto [entry, is_new] = keys_.try_emplace(sequence.id());
  if (is_new) {
    const PrefixRules& rules = settings_.rules;
    const Request& request = sequence.request();
    const std::int32_t n = PublishableChunks(rules, request, sequence.prompt_len());
    entry->second =
        ChunkKeys({.salt = settings_.salt,
                   .scope = request.cache_scope,
                   .force_full_attention = request.selection.force_full_attention},
                  sequence.tokens().first(static_cast<std::size_t>(n) * rules.chunk_size),
                  rules.chunk_size);
  }
  return entry->second;
}

// The longest run of reusable chunks that are here.
std::span<const ChunkKey> PrefixCache::CachedKeys(const Sequence& sequence) {
  const std::span<const ChunkKey> keys = KeysOf(sequence);
  const std::int32_t reusable =
      ReusableChunks(settings_.rules, sequence.request(), sequence.prompt_len());
  const std::size_t n = std::min(keys.size(), static_cast<std::size_t>(reusable));
  return keys.first(static_cast<std::size_t>(index_.Match(keys.first(n))));
}

}  // namespace keyhole
