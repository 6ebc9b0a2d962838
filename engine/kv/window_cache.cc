#include "engine/kv/window_cache.h"

#include <algorithm>

namespace keyhole {

std::size_t WindowBytes(const KvLayout& layout, std::int32_t capacity) {
  return layout.key_bytes() * static_cast<std::size_t>(capacity) * layout.n_layers;
}

KeyWindow::KeyWindow(const KvLayout& layout, std::int32_t capacity, std::byte* memory)
    : capacity_(capacity),
      row_bytes_(layout.key_bytes()),
      held_(layout.n_layers),
      memory_(memory) {}

KeyWindow::KeyWindow(const KvLayout& layout, std::int32_t capacity)
    : KeyWindow(layout, capacity, nullptr) {
  own_ = std::make_unique_for_overwrite<std::byte[]>(WindowBytes(layout, capacity));
  memory_ = own_.get();
}

KeyRing KeyWindow::Ring(std::int32_t layer) const {
  const std::size_t layer_bytes = row_bytes_ * static_cast<std::size_t>(capacity_);
  return {memory_ + static_cast<std::size_t>(layer) * layer_bytes, capacity_, row_bytes_};
}

RowRange KeyWindow::Advance(std::int32_t layer, RowRange rows, std::int32_t fresh) {
  RowRange& held = held_[layer];
  // What an earlier step that did not count may have left is written again.
  const std::int32_t valid_end = std::min(held.end, fresh);
  const bool joined = held.begin <= rows.begin && valid_end >= rows.begin;
  held = rows;
  return {joined ? valid_end : rows.begin, rows.end};
}

WindowCache::WindowCache(const KvLayout& layout, std::int32_t capacity)
    : layout_(layout), capacity_(capacity) {}

KeyWindow& WindowCache::Open(RequestId id) {
  std::unique_ptr<KeyWindow>& window = windows_[id];
  if (window == nullptr) window = std::make_unique<KeyWindow>(layout_, capacity_);
  return *window;
}

void WindowCache::Close(RequestId id) { windows_.erase(id); }

}  // namespace keyhole
