#include "tests/unit/residency/step_harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "engine/status_macros.h"
#include "tests/support/fake_device/fake_device.h"

namespace keyhole {

struct StepHarness::Plan {
  std::vector<PageId> held;
  std::vector<PageId> written;
  std::vector<PageId> full;
  std::vector<std::vector<std::vector<RowBytes>>> fresh;  // [part][layer][new row]
  std::vector<std::shared_ptr<Read>> reads;
};

StepHarness::StepHarness(const ResidencySettings& settings, std::int32_t n_pages)
    : stream_(Stream::Create().value()), host_(HostStore::Create(kTinyLayout, n_pages).value()) {
  auto kv = ResidentKv::Create(settings, kTinyLayout, n_pages, {&*stream_, host_.get(), &copier_});
  EXPECT_TRUE(kv.ok()) << kv.status();
  kv_ = *std::move(kv);
}

absl::Status StepHarness::Step(std::span<const StepPart> parts) {
  Plan plan;
  std::set<PageId> held;
  std::set<PageId> written;
  for (const StepPart& part : parts) {
    const std::int32_t past = part.sequence->n_rows();
    const std::int32_t end = past + part.n_new;
    for (std::int32_t row = 0; row < end; ++row) {
      const PageId page = part.sequence->pages[row / kTinyLayout.page_size];
      if (row < kInitial || row >= past - kLocal) held.insert(page);
      if (row >= past) written.insert(page);
      const bool last_of_page = row % kTinyLayout.page_size == kTinyLayout.page_size - 1;
      if (row >= past && last_of_page) plan.full.push_back(page);
    }
  }
  plan.held.assign(held.begin(), held.end());
  plan.written.assign(written.begin(), written.end());
  KEYHOLE_RETURN_IF_ERROR(kv_->Hold(plan.held));
  interlude();
  absl::Status status = Run(parts, plan);
  kv_->Release(plan.held);
  return status;
}

absl::Status StepHarness::Run(std::span<const StepPart> parts, Plan& plan) {
  kv_->Write(plan.written);
  plan.fresh.assign(parts.size(), std::vector<std::vector<RowBytes>>(kTinyLayout.n_layers));
  for (std::int32_t layer = 0; layer < kTinyLayout.n_layers; ++layer) {
    KEYHOLE_RETURN_IF_ERROR(RunLayer(layer, parts, plan));
  }
  KEYHOLE_RETURN_IF_ERROR(kv_->Settle());
  KEYHOLE_RETURN_IF_ERROR(stream_->Synchronize());
  for (const auto& read : plan.reads) {
    EXPECT_EQ(read->got, read->expected);
    log_.insert(log_.end(), read->got.begin(), read->got.end());
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (std::int32_t layer = 0; layer < kTinyLayout.n_layers; ++layer) {
      std::vector<RowBytes>& rows = parts[i].sequence->rows[layer];
      rows.insert(rows.end(), plan.fresh[i][layer].begin(), plan.fresh[i][layer].end());
    }
  }
  // The step counts from here on: what fails now costs no row.
  kv_->Save(plan.full).IgnoreError();
  kv_->Collect().IgnoreError();
  interlude();
  return absl::OkStatus();
}

absl::Status StepHarness::RunLayer(std::int32_t layer,
                                   std::span<const StepPart> parts,
                                   Plan& plan) {
  std::vector<FetchParams> fetches;
  std::vector<std::vector<std::int32_t>> places;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    TestSequence& sequence = *parts[i].sequence;
    for (std::int32_t row = 0; row < parts[i].n_new; ++row) {
      std::byte* to = kv_->arena().base() + PlaceInPage(layer, sequence, sequence.n_rows() + row) *
                                                kTinyLayout.row_bytes();
      const RowBytes& bytes = plan.fresh[i][layer].emplace_back(NewRow());
      fake_device::Enqueue(*stream_, [to, bytes] { std::copy(bytes.begin(), bytes.end(), to); });
    }
    places.emplace_back(parts[i].selected.size());
    fetches.push_back({sequence.pages, parts[i].selected, nullptr});
  }
  for (std::size_t i = 0; i < parts.size(); ++i) fetches[i].places = places[i].data();
  KEYHOLE_RETURN_IF_ERROR(kv_->Fetch(layer, fetches).status());
  interlude();
  const auto read = [&](std::int32_t place, const RowBytes& expected) {
    const std::byte* from = kv_->arena().base() + place * kTinyLayout.row_bytes();
    auto target = plan.reads.emplace_back(std::make_shared<Read>(Read{expected, {}}));
    fake_device::Enqueue(
        *stream_, [target, from] { target->got.assign(from, from + kTinyLayout.row_bytes()); });
  };
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const TestSequence& sequence = *parts[i].sequence;
    const std::vector<RowBytes>& rows = sequence.rows[layer];
    for (std::size_t j = 0; j < places[i].size(); ++j) {
      read(places[i][j], rows[parts[i].selected[j]]);
    }
    for (std::int32_t row = 0; row < sequence.n_rows(); ++row) {
      if (row >= kInitial && row < sequence.n_rows() - kLocal) continue;
      read(PlaceInPage(layer, sequence, row), rows[row]);
    }
    for (std::int32_t row = 0; row < parts[i].n_new; ++row) {
      read(PlaceInPage(layer, sequence, sequence.n_rows() + row), plan.fresh[i][layer][row]);
    }
  }
  return absl::OkStatus();
}

std::int32_t StepHarness::PlaceInPage(std::int32_t layer,
                                      const TestSequence& sequence,
                                      std::int32_t row) {
  const PageId page = sequence.pages[row / kTinyLayout.page_size];
  std::int32_t slot = 0;
  kv_->SlotsOf({&page, 1}, {&slot, 1});
  EXPECT_GE(slot, 0) << "page " << page << " is held and not on the device";
  return kv_->arena().PlaceInPage(std::max(slot, 0), layer, row % kTinyLayout.page_size);
}

// Of every attempt anew, so that a step that fails leaves nothing that would do.
RowBytes StepHarness::NewRow() {
  RowBytes row(kTinyLayout.row_bytes());
  for (std::byte& b : row) b = static_cast<std::byte>(bytes_());
  return row;
}

}  // namespace keyhole
