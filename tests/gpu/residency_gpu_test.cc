// Rows appended on the device, spilled, fetched and gathered, against those of the CPU's pages.
#include <cstring>
#include <random>

#include "engine/kv/resident_kv.h"
#include "engine/ops/append_kv.h"
#include "engine/ops/cuda/append_kv.h"
#include "engine/ops/cuda/attend_rows.h"
#include "engine/ops/cuda/row_gatherer.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 16;
constexpr std::int32_t kPages = 12;

constexpr KvLayout kLayouts[] = {
    {.n_layers = 2, .n_kv_heads = 2, .head_dim = 64, .page_size = kPage},
    // The default model's: 408 bytes a row, no multiple of 16.
    {.n_layers = 2, .n_kv_heads = 3, .head_dim = 64, .page_size = kPage, .type = KvType::kInt8},
};

class ResidencyGpuTest : public GpuTest {
 protected:
  // Appends a page after a page, holding none of the earlier ones.
  void AppendAll(ResidentKv& kv, const std::vector<PageId>& pages) {
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const std::span<const PageId> page = std::span(pages).subspan(i, 1);
      const absl::Status held = kv.Hold(page);
      ASSERT_TRUE(held.ok()) << held;
      kv.Write(page);
      std::vector<PageId> slots(1);
      kv.SlotsOf(page, slots);
      const std::size_t at = i * kPage * layout_.kv_size();
      for (std::int32_t layer = 0; layer < layout_.n_layers; ++layer) {
        const std::vector<float> k(keys_[layer].begin() + at,
                                   keys_[layer].begin() + at + kPage * layout_.kv_size());
        const std::vector<float> v(values_[layer].begin() + at,
                                   values_[layer].begin() + at + kPage * layout_.kv_size());
        const cuda::AppendKvParams params = {.store = {kv.arena().base(), layout_},
                                             .pages = Pages(slots),
                                             .n_tokens = kPage,
                                             .keys = ToDevice(k),
                                             .values = ToDevice(v)};
        cuda::AppendKv(layer, {&params, 1}, workspace());
      }
      ASSERT_TRUE(kv.Save(page).ok());
      kv.Release(page);
    }
  }

  void ExpectRowsOfTheCpu(const KvLayout& layout);

  KvLayout layout_;
  std::vector<std::vector<float>> keys_;
  std::vector<std::vector<float>> values_;
  std::mt19937 random_{31};
};

void ResidencyGpuTest::ExpectRowsOfTheCpu(const KvLayout& layout) {
  layout_ = layout;
  keys_.clear();
  values_.clear();
  const std::vector<PageId> pages = {3, 7, 0, 11, 5, 1, 9, 4};
  const auto n_rows = static_cast<std::int32_t>(pages.size()) * kPage;
  const std::unique_ptr<HostStore> expected = HostStore::Create(layout_, kPages).value();
  Device device(1);
  for (std::int32_t layer = 0; layer < layout_.n_layers; ++layer) {
    keys_.push_back(RandomFloats(random_, n_rows * layout_.kv_size()));
    values_.push_back(RandomFloats(random_, n_rows * layout_.kv_size()));
    const AppendKvParams params = {
        expected.get(), layer, pages, 0, n_rows, keys_[layer].data(), values_[layer].data()};
    AppendKv(device, {&params, 1});
  }
  const std::size_t row_bytes = layout_.row_bytes();
  for (const Residency mode : {Residency::kHost, Residency::kDevice, Residency::kAuto}) {
    const std::unique_ptr<HostStore> host = HostStore::CreatePinned(layout_, kPages).value();
    ASSERT_TRUE(host->pinned()) << host->why_pageable();
    cuda::RowGatherer gatherer(stream());
    const std::size_t small = 3 * layout_.page_bytes() + 80 * row_bytes * layout_.n_layers;
    const bool all = mode == Residency::kDevice;
    const ResidencySettings settings = {.mode = mode,
                                        .device_bytes = all ? kPages * layout_.page_bytes() : small,
                                        .held_pages = 2,
                                        .fetched_rows = 60};
    const std::unique_ptr<ResidentKv> kv =
        ResidentKv::Create(settings, layout_, kPages, {&stream(), host.get(), &gatherer}).value();
    AppendAll(*kv, pages);
    for (int round = 0; round < 3; ++round) {
      for (std::int32_t layer = 0; layer < layout_.n_layers; ++layer) {
        std::vector<std::int32_t> rows(40);
        for (std::int32_t& row : rows) row = static_cast<std::int32_t>(random_() % n_rows);
        std::vector<std::int32_t> places(rows.size());
        const FetchParams params = {pages, rows, places.data()};
        ASSERT_TRUE(kv->Fetch(layer, {&params, 1}).ok());
        for (std::size_t i = 0; i < rows.size(); ++i) {
          const std::vector<std::byte> got =
              FromDevice(kv->arena().base() + places[i] * row_bytes, row_bytes);
          const std::byte* row =
              expected->LayerRows(pages[rows[i] / kPage], layer) + rows[i] % kPage * row_bytes;
          ASSERT_EQ(std::memcmp(got.data(), row, row_bytes), 0)
              << ResidencyName(mode) << " row " << rows[i];
        }
      }
      ASSERT_TRUE(kv->Settle().ok());
    }
    EXPECT_EQ(kv->fetch_stats().n_fetched > 0, !all);
  }
}

TEST_F(ResidencyGpuTest, RowsAreTheCpusWhereverTheyAre) {
  for (const KvLayout& layout : kLayouts) {
    SCOPED_TRACE(testing::Message() << layout.row_bytes() << " bytes a row");
    ExpectRowsOfTheCpu(layout);
    if (HasFatalFailure()) return;
  }
}

// Rows by number, out of order, against the same rows of pages.
TEST_F(ResidencyGpuTest, AttentionOverPlacesHasTheBitsOfAttentionOverPages) {
  const KvSequence kv({.n_layers = 1, .n_kv_heads = 2, .head_dim = 64, .page_size = kPage}, 100, 8);
  const KvLayout& layout = kv.store->layout();
  const std::size_t bytes = layout.page_bytes() * kv.store->n_pages();
  const cuda::KvPages pages = {ToDevice(kv.store->LayerRows(0, 0), bytes), layout};
  std::vector<std::int32_t> rows;
  std::vector<std::int32_t> places;
  for (std::int32_t row = 1; row < 100; row += 1 + static_cast<std::int32_t>(random_() % 4)) {
    rows.push_back(row);
    places.push_back(layout.row_number(kv.pages[row / kPage], 0, row % kPage));
  }
  for (const std::int32_t q_len : {1, 24}) {
    const std::size_t n = std::size_t(q_len) * 4 * 64;
    cuda::AttendPartParams part = {.queries = ToDevice(RandomFloats(random_, n)),
                                   .rows = ToDevice(rows),
                                   .n_rows = static_cast<std::int32_t>(rows.size())};
    const auto attend = [&] {
      const cuda::AttendParams params = {.store = pages,
                                         .pages = Pages(kv.pages),
                                         .q_len = q_len,
                                         .parts = {&part, 1},
                                         .out = Take<float>(n)};
      cuda::AttendRows({.n_heads = 4, .softmax_scale = 0.125F}, {&params, 1}, workspace());
      return FromDevice(params.out, n);
    };
    const std::vector<float> expected = attend();
    part.rows = ToDevice(places);
    part.keys = cuda::KeysByNumber(pages);
    part.values = cuda::ValuesByNumber(pages);
    EXPECT_EQ(attend(), expected) << q_len << " queries";
  }
}

}  // namespace
}  // namespace keyhole
