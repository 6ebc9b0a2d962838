// The memory of all digests: compressed keys beside the KV pages, by the same page ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/kv/digest_layout.h"
#include "engine/kv/page_memory.h"
#include "engine/types.h"

namespace keyhole {

// Written when a token's row is appended, never again; shared wherever its page is shared.
// Thread: the executor writes; the address computations are const and safe anywhere.
class DigestStore {
 public:
  // Errors: INVALID_ARGUMENT for a layout that breaks its rules; those of PageMemory::Reserve.
  static absl::StatusOr<std::unique_ptr<DigestStore>> Create(const DigestLayout& layout,
                                                             std::int32_t n_pages);

  // The digests of one layer's tokens in `page`.
  std::uint8_t* Slot(PageId page, std::int32_t slot) const {
    return reinterpret_cast<std::uint8_t*>(memory_.Page(page)) + slot * layout_.slot_bytes();
  }

  // The coarse digests of one layer's tokens in `page`; a layer's lie side by side, page after
  // page, since all of them are read at a time.
  std::uint8_t* CoarseSlot(PageId page, std::int32_t slot) const {
    return reinterpret_cast<std::uint8_t*>(coarse_->Page(slot * n_pages() + page));
  }

  // The coarse ones, a few in a hundred of a page's bytes, stay.
  void Discard(PageId page) { memory_.Discard(page); }

  const DigestLayout& layout() const { return layout_; }
  std::int32_t n_pages() const { return memory_.n_pages(); }

 private:
  DigestStore(const DigestLayout& layout, PageMemory memory, std::optional<PageMemory> coarse)
      : layout_(layout), memory_(std::move(memory)), coarse_(std::move(coarse)) {}

  DigestLayout layout_;
  PageMemory memory_;
  std::optional<PageMemory> coarse_;  // none without coarse dimensions
};

}  // namespace keyhole
