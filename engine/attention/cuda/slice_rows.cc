#include "engine/attention/cuda/slice_rows.h"

#include <algorithm>

namespace keyhole::cuda {
namespace {

Choice ChoiceOf(const DeviceSelection& selection,
                const SelectionSizes& sizes,
                bool can_score,
                std::int32_t n_middle,
                bool forced) {
  if (n_middle <= 0) return Choice::kNone;
  if (forced || selection.middle == MiddleRule::kEverything) return Choice::kAll;
  if (selection.middle == MiddleRule::kNothing) return Choice::kNone;
  if (n_middle <= sizes.selected) return Choice::kAll;
  return can_score && sizes.selected > 0 ? Choice::kScored : Choice::kNone;
}

}  // namespace

SliceRows RowsOf(const AttentionSettings& settings,
                 const DeviceSelection& selection,
                 bool can_score,
                 const SequenceSlice& slice) {
  const SelectionSizes sizes = SizesOf(settings, slice);
  const Selection parts = Partition(slice.kv_len, sizes);
  const bool forced = slice.request != nullptr && slice.request->selection.force_full_attention;
  SliceRows rows = {.slice = &slice,
                    .initial = parts.initial,
                    .middle = parts.middle,
                    .near = {parts.local.begin, slice.kv_len + slice.q_len}};
  rows.choice = ChoiceOf(selection, sizes, can_score, parts.middle.size(), forced);
  if (rows.choice == Choice::kAll) rows.n_chosen = parts.middle.size();
  if (rows.choice == Choice::kScored) rows.n_chosen = std::min(parts.middle.size(), sizes.selected);
  return rows;
}

void AppendPages(const SequenceSlice& slice,
                 RowRange rows,
                 std::int32_t page_size,
                 std::vector<PageId>& pages) {
  if (rows.empty()) return;
  const auto begin = slice.pages.begin() + rows.begin / page_size;
  const auto end = slice.pages.begin() + (rows.end + page_size - 1) / page_size;
  pages.insert(pages.end(), begin, end);
}

}  // namespace keyhole::cuda
