#include "engine/kv/page_residency.h"

#include "absl/strings/str_cat.h"
#include "engine/check.h"
#include "engine/device/device_copy.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::Status PageResidency::Hold(std::span<const PageId> pages) {
  // First, so that none of them makes room for another.
  for (const PageId page : pages) parts_.pages->Pin(page);
  absl::Status status = PlaceAll(pages);
  if (!status.ok()) Release(pages);
  return status;
}

void PageResidency::Release(std::span<const PageId> pages) {
  for (const PageId page : pages) parts_.pages->Unpin(page);
}

absl::Status PageResidency::PlaceAll(std::span<const PageId> pages) {
  for (const PageId page : pages) {
    if (parts_.pages->slot(page) != DevicePages::kNone) {
      parts_.pages->Touch(page);
      continue;
    }
    KEYHOLE_RETURN_IF_ERROR(MakeRoom());
    parts_.pages->Take(page);
    if (!parts_.pages->empty(page)) KEYHOLE_RETURN_IF_ERROR(CopyToDevice(page));
  }
  return absl::OkStatus();
}

absl::Status PageResidency::CopyToDevice(PageId page) {
  KEYHOLE_CHECK(parts_.host != nullptr && parts_.pages->saved(page),
                "what is not on the device is on the host");
  const Load load = {page, parts_.pages->saved_version(page)};
  absl::Status status = CopyAsync(*parts_.stream,
                                  parts_.arena->Page(parts_.pages->slot(page)),
                                  parts_.host->LayerRows(page, 0),
                                  parts_.host->layout().page_bytes());
  if (status.ok()) status = events_.Record().status();
  if (!status.ok()) {
    parts_.pages->Restore(page, load.version);
    return status;
  }
  loads_.push_back(load);
  ++n_loaded_;
  return status;
}

absl::Status PageResidency::MakeRoom() {
  if (parts_.pages->n_free() > 0) return absl::OkStatus();
  const std::optional<PageId> victim = parts_.pages->LeastRecent();
  if (!victim.has_value() || !queue_.has_value()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", parts_.pages->n_slots(), " pages of the device are held"));
  }
  KEYHOLE_RETURN_IF_ERROR(MakeSaved(*victim));
  parts_.pages->Drop(*victim);
  ++n_spilled_;
  return absl::OkStatus();
}

absl::Status PageResidency::MakeSaved(PageId page) {
  while (!parts_.pages->saved(page) && !parts_.pages->empty(page)) {
    if (!parts_.pages->saving(page)) KEYHOLE_RETURN_IF_ERROR(Save({&page, 1}));
    const WriteBackOutcome outcome = queue_->TakeNext();
    MarkEnded(outcome);
    if (outcome.status.ok()) continue;
    if (!parts_.pages->saving(page)) return outcome.status;
    failure_.Update(outcome.status);  // of other pages
  }
  return absl::OkStatus();
}

absl::Status PageResidency::Save(std::span<const PageId> pages) {
  if (!queue_.has_value()) return absl::OkStatus();
  // What a copy brought here may still turn out to be void, and the host's is all there is of it.
  KEYHOLE_RETURN_IF_ERROR(Settle());
  std::vector<PageCopy> copies;
  for (const PageId page : pages) {
    const std::int32_t slot = parts_.pages->slot(page);
    if (slot == DevicePages::kNone || parts_.pages->empty(page)) continue;
    if (parts_.pages->saved(page) || parts_.pages->saving(page)) continue;
    copies.push_back({.page = page,
                      .version = parts_.pages->MarkSaving(page),
                      .from = parts_.arena->Page(slot),
                      .to = parts_.host->LayerRows(page, 0)});
  }
  absl::Status status = queue_->Add(*parts_.stream, copies);
  if (!status.ok()) MarkEnded({std::move(copies), status});
  return status;
}

absl::Status PageResidency::Collect() {
  if (!queue_.has_value()) return absl::OkStatus();
  while (const std::optional<WriteBackOutcome> outcome = queue_->TakeDone()) {
    MarkEnded(*outcome);
    failure_.Update(outcome->status);
  }
  return std::exchange(failure_, absl::OkStatus());
}

void PageResidency::MarkEnded(const WriteBackOutcome& outcome) {
  for (const PageCopy& copy : outcome.copies) {
    if (outcome.status.ok()) {
      parts_.pages->MarkSaved(copy.page, copy.version);
    } else {
      parts_.pages->MarkNotSaved(copy.page, copy.version);
    }
  }
}

absl::Status PageResidency::Settle() {
  absl::Status status = events_.Settle();
  if (!status.ok()) {
    for (const Load& load : loads_) parts_.pages->Restore(load.page, load.version);
  }
  loads_.clear();
  return status;
}

void PageResidency::Drain() {
  if (queue_.has_value()) queue_->Drain();
}

}  // namespace keyhole
