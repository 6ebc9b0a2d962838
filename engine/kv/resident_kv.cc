#include "engine/kv/resident_kv.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/check.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<std::unique_ptr<ResidentKv>> ResidentKv::Create(const ResidencySettings& settings,
                                                               const KvLayout& layout,
                                                               std::int32_t n_pages,
                                                               const ResidentKvParts& parts) {
  KEYHOLE_ASSIGN_OR_RETURN(const ResidencyPlan plan, PlanResidency(settings, layout, n_pages));
  if (plan.spills && parts.host == nullptr) {
    return absl::InvalidArgumentError("pages that spill need pages of the host");
  }
  if (plan.spills && parts.copier == nullptr && !parts.host->pinned()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the device cannot read pages of the host that are not pinned: ",
                     parts.host->why_pageable()));
  }
  KEYHOLE_ASSIGN_OR_RETURN(DeviceArena arena, DeviceArena::Allocate(*parts.stream, layout, plan));
  std::optional<WriteBackQueue> queue;
  if (plan.spills) {
    KEYHOLE_ASSIGN_OR_RETURN(queue, WriteBackQueue::Create(layout.page_bytes()));
  }
  return std::unique_ptr<ResidentKv>(
      new ResidentKv(plan, n_pages, std::move(arena), std::move(queue), parts));
}

ResidentKv::ResidentKv(const ResidencyPlan& plan,
                       std::int32_t n_pages,
                       DeviceArena arena,
                       std::optional<WriteBackQueue> queue,
                       const ResidentKvParts& parts)
    : plan_(plan),
      arena_(std::move(arena)),
      pages_(n_pages, plan.n_page_slots),
      hot_(arena_.layout(), n_pages, parts.copier == nullptr ? 0 : plan.n_hot_rows),
      residency_({parts.stream, parts.host, &arena_, &pages_}, std::move(queue)),
      fetcher_({parts.stream, parts.host, &arena_, &pages_, &hot_, parts.copier}),
      on_device_(plan.spills && parts.copier == nullptr) {}

// Copies to the host read the arena, which goes in the order of another stream.
ResidentKv::~ResidentKv() { residency_.Drain(); }

void ResidentKv::Write(std::span<const PageId> pages) {
  for (const PageId page : pages) {
    KEYHOLE_CHECK(pages_.pins(page) > 0, "pages are held while they are written");
    pages_.MarkWritten(page);
    ForgetHotRows(page);
  }
}

void ResidentKv::ForgetHotRows(PageId page) {
  hot_.ForgetPage(page);
  if (on_device_ && pages_.TakeLeft(page)) voided_.push_back(page);
}

absl::Status ResidentKv::Settle() {
  absl::Status status = fetcher_.Settle();
  status.Update(residency_.Settle());
  return status;
}

void ResidentKv::Forget(PageId page) {
  KEYHOLE_CHECK(pages_.pins(page) == 0, "a page that is held has an owner");
  ForgetHotRows(page);
  pages_.Forget(page);
  pages_.TakeLeft(page);  // nothing of it was fetched since
}

void ResidentKv::SlotsOf(std::span<const PageId> pages, std::span<std::int32_t> slots) const {
  for (std::size_t i = 0; i < pages.size(); ++i) slots[i] = pages_.slot(pages[i]);
}

}  // namespace keyhole
