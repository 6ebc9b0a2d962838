#include "engine/kv/prefix_index.h"

#include <algorithm>
#include <utility>

#include "engine/check.h"

namespace keyhole {

PrefixIndex::~PrefixIndex() {
  for (const auto& [key, node] : nodes_) pool_->Release(node->pages);
}

std::int32_t PrefixIndex::Match(std::span<const ChunkKey> keys) const {
  const auto missing = std::find_if(
      keys.begin(), keys.end(), [this](const ChunkKey& key) { return Find(key) == nullptr; });
  return static_cast<std::int32_t>(missing - keys.begin());
}

PageTable PrefixIndex::Acquire(std::span<const ChunkKey> keys) {
  std::vector<PageId> pages;
  for (const ChunkKey& key : keys) {
    Node* node = Find(key);
    KEYHOLE_CHECK(node != nullptr, "only chunks that are here can be acquired");
    Touch(node);
    for (const PageId page : node->pages) pool_->Retain(page);
    pages.insert(pages.end(), node->pages.begin(), node->pages.end());
  }
  return PageTable(pool_, std::move(pages));
}

void PrefixIndex::Publish(std::span<const ChunkKey> keys, std::span<const PageId> pages) {
  const auto per_chunk = static_cast<std::size_t>(limits_.pages_per_chunk);
  KEYHOLE_CHECK(pages.size() == keys.size() * per_chunk, "a chunk is published with its pages");
  Node* parent = nullptr;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Node* node = Find(keys[i]);
    if (node == nullptr) {
      if (!MakeRoom(parent)) return;
      node = Insert(keys[i], parent, pages.subspan(i * per_chunk, per_chunk));
    }
    Touch(node);
    parent = node;
  }
}

bool PrefixIndex::EvictFor(std::int32_t n_free) {
  if (pool_->n_free() >= n_free) return true;
  if (pool_->n_free() + n_idle_pages() < n_free) return false;
  while (pool_->n_free() < n_free) Drop(NextVictim());
  return true;
}

std::int32_t PrefixIndex::n_idle_pages() const {
  const auto idle = std::count_if(
      nodes_.begin(), nodes_.end(), [this](const auto& entry) { return IsIdle(*entry.second); });
  return static_cast<std::int32_t>(idle) * limits_.pages_per_chunk;
}

std::vector<std::vector<PageId>> PrefixIndex::Holders() const {
  std::vector<std::vector<PageId>> holders;
  for (const auto& [key, node] : nodes_) holders.push_back(node->pages);
  return holders;
}

PrefixIndex::Node* PrefixIndex::Find(const ChunkKey& key) const {
  const auto found = nodes_.find(key);
  return found == nodes_.end() ? nullptr : found->second.get();
}

PrefixIndex::Node* PrefixIndex::Insert(const ChunkKey& key,
                                       Node* parent,
                                       std::span<const PageId> pages) {
  auto node = std::make_unique<Node>();
  node->key = key;
  node->parent = parent;
  node->last_used = ++clock_;
  node->pages.assign(pages.begin(), pages.end());
  for (const PageId page : pages) pool_->Retain(page);
  if (parent != nullptr && ++parent->n_children == 1) leaves_.erase(parent->last_used);
  leaves_.emplace(node->last_used, node.get());
  return (nodes_[key] = std::move(node)).get();
}

// `parent`, the newest, is a leaf that must stay: once it comes first it is the only one.
bool PrefixIndex::MakeRoom(const Node* parent) {
  while (n_pages() + limits_.pages_per_chunk > limits_.max_pages) {
    if (leaves_.empty() || leaves_.begin()->second == parent) return false;
    Drop(leaves_.begin()->second);
  }
  return true;
}

void PrefixIndex::Touch(Node* node) {
  const bool is_leaf = node->n_children == 0;
  if (is_leaf) leaves_.erase(node->last_used);
  node->last_used = ++clock_;
  if (is_leaf) leaves_.emplace(node->last_used, node);
}

void PrefixIndex::Drop(Node* node) {
  leaves_.erase(node->last_used);
  Node* parent = node->parent;
  if (parent != nullptr && --parent->n_children == 0) leaves_.emplace(parent->last_used, parent);
  pool_->Release(node->pages);
  n_evicted_pages_ += limits_.pages_per_chunk;
  nodes_.erase(ChunkKey(node->key));  // a copy: the node's own goes with it
}

// The pages of a chunk come and go together, so that one speaks for all.
bool PrefixIndex::IsIdle(const Node& node) const {
  return pool_->references(node.pages.front()) == 1;
}

// REQUIRES: some entry is idle.
PrefixIndex::Node* PrefixIndex::NextVictim() const {
  const auto has_idle_ancestor = [this](const Node* node) {
    while ((node = node->parent) != nullptr) {
      if (IsIdle(*node)) return true;
    }
    return false;
  };
  for (const auto& [last_used, leaf] : leaves_) {
    if (IsIdle(*leaf)) return leaf;
  }
  for (const auto& [last_used, leaf] : leaves_) {
    if (has_idle_ancestor(leaf)) return leaf;
  }
  KEYHOLE_CHECK(false, "an idle entry is a leaf or has one below it");
  return nullptr;
}

}  // namespace keyhole
