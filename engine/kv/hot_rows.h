// Which rows of pages on the host have a copy on the device: a slot per row, the least recently
// used go first. Knows nothing of memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/kv/kv_layout.h"
#include "engine/types.h"

namespace keyhole {

// From one row to another; numbers of rows on either side.
struct RowMove {
  std::int32_t from = 0;
  std::int32_t to = 0;
};

// Slots of one layer hold rows of that layer, so that a step, which goes through the layers, finds
// in each what its last one left. What comes out depends on the calls before alone. Tables are
// arrays of 32-bit numbers, fit to be resolved on the device: by row, by slot, and the slots of a
// layer in the order of their use.
// Owner: ResidentKv. Thread: executor only.
class HotRows {
 public:
  static constexpr std::int32_t kNone = -1;

  // `n_slots` of each layer. REQUIRES: rows of `n_pages` can be numbered.
  HotRows(const KvLayout& layout, std::int32_t n_pages, std::int32_t n_slots);

  // slots[i], of `layer`, becomes that of rows[i] (KvLayout::row_number); a row may come twice.
  // Appends those that have to be copied into their slots first. None of the batch's rows loses its
  // slot to another one of it. Errors: RESOURCE_EXHAUSTED if the batch has more different rows than
  // the layer has slots, and then nothing changes. REQUIRES: rows are of `layer`.
  absl::Status Resolve(std::int32_t layer,
                       std::span<const std::int32_t> rows,
                       std::span<std::int32_t> slots,
                       std::vector<RowMove>& loads);

  // What the row's slot, or those of the page's rows, hold is void.
  void ForgetRow(std::int32_t row);
  void ForgetPage(PageId page);

  std::int32_t slot(std::int32_t row) const { return slots_[row]; }  // or kNone
  std::int32_t n_slots() const { return n_slots_; }

 private:
  bool Mark(std::int32_t layer, std::span<const std::int32_t> rows);
  void TakeVictims(std::int32_t layer);
  void Reorder(std::int32_t layer);
  PageId PageOf(std::int32_t row) const { return row / rows_per_page_; }
  std::size_t At(std::int32_t layer, std::int32_t slot) const {
    return static_cast<std::size_t>(layer) * n_slots_ + slot;
  }

  std::int32_t n_slots_;
  std::int32_t rows_per_page_;  // of all layers
  std::int32_t page_size_;
  std::int32_t n_layers_;
  std::vector<std::int32_t> slots_;    // by row
  std::vector<std::int32_t> n_hot_;    // by page
  std::vector<std::int32_t> rows_;     // by layer and slot; kNone: empty
  std::vector<std::int64_t> batches_;  // by layer and slot: the newest that used it
  std::vector<std::int32_t> order_;    // by layer: its slots, least recently used first
  std::int64_t batch_ = 0;

  // Reused from call to call.
  std::vector<std::int32_t> absent_;  // rows without a slot
  std::vector<std::int32_t> taken_;   // slots of this batch
};

}  // namespace keyhole
