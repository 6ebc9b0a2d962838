#include "engine/kv/row_fetcher.h"

#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<FetchTicket> RowFetcher::Fetch(std::int32_t layer,
                                              std::span<const FetchParams> sequences) {
  spilled_.clear();
  wanted_.clear();
  moves_.clear();
  for (const FetchParams& params : sequences) {
    KEYHOLE_RETURN_IF_ERROR(FindInPages(layer, params));
  }
  slots_.resize(spilled_.size());
  KEYHOLE_RETURN_IF_ERROR(parts_.hot->Resolve(layer, spilled_, slots_, moves_));
  for (std::size_t i = 0; i < spilled_.size(); ++i) {
    *wanted_[i] = parts_.arena->PlaceOfHotRow(layer, slots_[i]);
  }
  for (const FetchParams& params : sequences) {
    stats_.n_rows += static_cast<std::int64_t>(params.rows.size());
    stats_.n_in_pages += static_cast<std::int64_t>(params.rows.size());
  }
  stats_.n_in_pages -= static_cast<std::int64_t>(spilled_.size());
  return Copy(layer);
}

absl::Status RowFetcher::FindInPages(std::int32_t layer, const FetchParams& params) {
  const KvLayout& layout = parts_.arena->layout();
  PageId last = DevicePages::kNone;
  for (std::size_t i = 0; i < params.rows.size(); ++i) {
    const PageId page = params.pages[params.rows[i] / layout.page_size];
    const std::int32_t row = params.rows[i] % layout.page_size;
    const std::int32_t slot = parts_.pages->slot(page);
    if (slot != DevicePages::kNone) {
      if (page != last) parts_.pages->Touch(page);
      params.places[i] = parts_.arena->PlaceInPage(slot, layer, row);
    } else if (parts_.host != nullptr && parts_.pages->saved(page)) {
      spilled_.push_back(layout.row_number(page, layer, row));
      wanted_.push_back(&params.places[i]);
    } else {
      return absl::InternalError(absl::StrCat("page ", page, " was never written"));
    }
    last = page;
  }
  return absl::OkStatus();
}

// What moves_ says.
absl::StatusOr<FetchTicket> RowFetcher::Copy(std::int32_t layer) {
  if (moves_.empty()) return FetchTicket();
  const std::size_t n_before = loaded_.size();
  for (RowMove& move : moves_) {
    loaded_.push_back(move.from);
    move.to = parts_.arena->PlaceOfHotRow(layer, move.to);
  }
  absl::Status status = parts_.copier->Copy(*parts_.stream,
                                            {.from = parts_.host->LayerRows(0, 0),
                                             .to = parts_.arena->base(),
                                             .row_bytes = parts_.arena->layout().row_bytes(),
                                             .moves = moves_});
  if (status.ok()) {
    const absl::StatusOr<const Event*> done = events_.Record();
    stats_.n_fetched += static_cast<std::int64_t>(moves_.size());
    if (done.ok()) return FetchTicket(*done);
    status = done.status();
  }
  for (std::size_t i = n_before; i < loaded_.size(); ++i) parts_.hot->ForgetRow(loaded_[i]);
  loaded_.resize(n_before);
  return status;
}

absl::Status RowFetcher::Settle() {
  absl::Status status = events_.Settle();
  if (!status.ok()) {
    for (const std::int32_t row : loaded_) parts_.hot->ForgetRow(row);
  }
  loaded_.clear();
  return status;
}

}  // namespace keyhole
