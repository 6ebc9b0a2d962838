#include "engine/kv/hot_rows.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/check.h"

namespace keyhole {
namespace {

constexpr std::int32_t kWanted = -2;  // the batch has this row already, still without a slot

}  // namespace

HotRows::HotRows(const KvLayout& layout, std::int32_t n_pages, std::int32_t n_slots)
    : n_slots_(n_slots),
      rows_per_page_(layout.n_layers * layout.page_size),
      page_size_(layout.page_size),
      n_layers_(layout.n_layers),
      slots_(n_slots > 0 ? layout.row_number(n_pages, 0, 0) : 0, kNone),
      n_hot_(n_pages, 0),
      rows_(static_cast<std::size_t>(layout.n_layers) * n_slots, kNone),
      batches_(rows_.size(), 0),
      order_(rows_.size()) {
  for (std::int32_t layer = 0; layer < layout.n_layers; ++layer) {
    const auto first = order_.begin() + static_cast<std::ptrdiff_t>(At(layer, 0));
    std::iota(first, first + n_slots, 0);
  }
}

absl::Status HotRows::Resolve(std::int32_t layer,
                              std::span<const std::int32_t> rows,
                              std::span<std::int32_t> slots,
                              std::vector<RowMove>& loads) {
  if (rows.empty()) return absl::OkStatus();
  if (n_slots_ == 0 || !Mark(layer, rows)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "rows of one layer that are fetched together are more than its ", n_slots_, " hot rows"));
  }
  const std::size_t n_hits = taken_.size();
  TakeVictims(layer);
  for (std::size_t i = 0; i < absent_.size(); ++i) {
    const std::int32_t slot = taken_[n_hits + i];
    if (rows_[At(layer, slot)] != kNone) ForgetRow(rows_[At(layer, slot)]);
    rows_[At(layer, slot)] = absent_[i];
    slots_[absent_[i]] = slot;
    ++n_hot_[PageOf(absent_[i])];
    loads.push_back({absent_[i], slot});
  }
  for (std::size_t i = 0; i < rows.size(); ++i) slots[i] = slots_[rows[i]];
  Reorder(layer);
  return absl::OkStatus();
}

// Fills taken_ with the slots of rows that have one and absent_ with the rest. False, and then all
// is as before, where they are too many.
bool HotRows::Mark(std::int32_t layer, std::span<const std::int32_t> rows) {
  ++batch_;
  taken_.clear();
  absent_.clear();
  for (const std::int32_t row : rows) {
    KEYHOLE_CHECK(row / page_size_ % n_layers_ == layer, "a layer's slots hold its own rows");
    const std::int32_t slot = slots_[row];
    if (slot == kNone) {
      slots_[row] = kWanted;
      absent_.push_back(row);
    } else if (slot != kWanted && batches_[At(layer, slot)] != batch_) {
      batches_[At(layer, slot)] = batch_;
      taken_.push_back(slot);
    }
  }
  if (taken_.size() + absent_.size() <= static_cast<std::size_t>(n_slots_)) return true;
  for (const std::int32_t row : absent_) slots_[row] = kNone;
  return false;
}

// A slot for each absent row: empty ones, then the least recently used.
void HotRows::TakeVictims(std::int32_t layer) {
  std::size_t missing = absent_.size();
  for (const bool empty : {true, false}) {
    for (std::int32_t i = 0; i < n_slots_ && missing > 0; ++i) {
      const std::int32_t slot = order_[At(layer, i)];
      std::int64_t& batch = batches_[At(layer, slot)];
      if (batch == batch_ || (rows_[At(layer, slot)] == kNone) != empty) continue;
      batch = batch_;
      taken_.push_back(slot);
      --missing;
    }
  }
}

void HotRows::Reorder(std::int32_t layer) {
  const auto first = order_.begin() + static_cast<std::ptrdiff_t>(At(layer, 0));
  const auto rest = std::remove_if(first, first + n_slots_, [&](std::int32_t slot) {
    return batches_[At(layer, slot)] == batch_;
  });
  std::copy(taken_.begin(), taken_.end(), rest);
}

void HotRows::ForgetRow(std::int32_t row) {
  if (n_slots_ == 0 || slots_[row] == kNone) return;
  const std::int32_t layer = row / page_size_ % n_layers_;
  rows_[At(layer, slots_[row])] = kNone;
  slots_[row] = kNone;
  --n_hot_[PageOf(row)];
}

void HotRows::ForgetPage(PageId page) {
  const std::int32_t first = page * rows_per_page_;
  for (std::int32_t row = first; n_hot_[page] > 0; ++row) ForgetRow(row);
}

}  // namespace keyhole
