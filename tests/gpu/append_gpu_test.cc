#include <cmath>
#include <random>

#include "engine/kv/digest_store.h"
#include "engine/ops/append_digests.h"
#include "engine/ops/append_kv.h"
#include "engine/ops/cuda/append_digests.h"
#include "engine/ops/cuda/append_kv.h"
#include "engine/ops/cuda/gather_rows.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 16;
constexpr std::int32_t kCounts[] = {0, 1, kPage - 1, kPage, kPage + 1, 5 * kPage + 3};

class AppendGpuTest : public GpuTest {
 protected:
  // All pages of a store, as they are.
  std::vector<std::byte> Bytes(const std::byte* base, std::size_t bytes) {
    return {base, base + bytes};
  }

  std::mt19937 random_{7};
};

TEST_F(AppendGpuTest, RowsHaveTheBitsOfTheCpu) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    for (const std::int32_t heads : {1, 3, 8}) {
      const KvLayout layout = {.n_layers = 2,
                               .n_kv_heads = heads,
                               .head_dim = heads == 3 ? 64 : 128,
                               .page_size = kPage,
                               .type = type};
      constexpr std::int32_t kPages = 20;
      const std::size_t bytes = layout.page_bytes() * kPages;
      const std::unique_ptr<HostStore> store = HostStore::Create(layout, kPages).value();
      std::byte* base = ToDevice(store->LayerRows(0, 0), bytes);

      std::vector<PageId> all(kPages);
      std::iota(all.begin(), all.end(), 0);
      std::shuffle(all.begin(), all.end(), random_);
      std::deque<std::vector<float>> values;
      std::deque<std::vector<PageId>> pages;
      std::vector<AppendKvParams> expected;
      std::vector<cuda::AppendKvParams> params;
      for (const std::int32_t n : kCounts) {
        const std::int32_t first = n % 5;
        const std::int32_t n_pages = PagesForTokens(first + n, kPage);
        pages.emplace_back(all.end() - n_pages, all.end());
        all.resize(all.size() - n_pages);
        const std::vector<float>& k =
            values.emplace_back(RandomFloats(random_, n * layout.kv_size()));
        const std::vector<float>& v =
            values.emplace_back(RandomFloats(random_, n * layout.kv_size()));
        expected.push_back({store.get(), 1, pages.back(), first, n, k.data(), v.data()});
        params.push_back({.store = {base, layout},
                          .pages = Pages(pages.back()),
                          .first = first,
                          .n_tokens = n,
                          .keys = ToDevice(k),
                          .values = ToDevice(v)});
      }
      Device device(1);
      AppendKv(device, expected);
      cuda::AppendKv(1, params, workspace());
      EXPECT_TRUE(FromDevice(base, bytes) == Bytes(store->LayerRows(0, 0), bytes))
          << "heads " << heads;
    }
  }
}

TEST_F(AppendGpuTest, RowsOutsideThePageTableAreRefused) {
  const KvLayout layout = {.n_layers = 1, .n_kv_heads = 1, .head_dim = 64, .page_size = kPage};
  std::byte* base = TakeBytes(layout.page_bytes());
  const cuda::AppendKvParams params = {
      .store = {base, layout}, .pages = Pages({0}), .first = 1, .n_tokens = kPage};
  EXPECT_THROW(cuda::AppendKv(0, {&params, 1}, workspace()), std::logic_error);
}

// Small integers: every order of a sum gives the same f32 number.
TEST_F(AppendGpuTest, DigestsHaveTheBitsOfTheCpuWhereSumsAreExact) {
  for (const auto& [groups, rank, in_dim] :
       {std::tuple{1, 64, 192}, {3, 32, 64}, {8, 16, 128}, {4, 4, 8}}) {
    const DigestLayout layout = {
        .n_slots = 2, .n_groups = groups, .rank = rank, .page_size = 4 * kPage};
    constexpr std::int32_t kPages = 5;
    const std::size_t bytes = layout.page_bytes() * kPages;
    const std::unique_ptr<DigestStore> store = DigestStore::Create(layout, kPages).value();
    std::uint8_t* base = ToDevice(store->Slot(0, 0), bytes);
    std::uniform_int_distribution<int> small(-3, 3);
    std::vector<float> map(std::size_t(groups) * rank * in_dim);
    for (float& x : map) x = static_cast<float>(small(random_)) / 2;
    const cuda::DigestMap device_map = {.slot = 1, .map = ToDevice(map), .in_dim = in_dim};

    for (const std::int32_t n : {0, 1, 63, 64, 65, 150}) {
      std::vector<float> keys(std::size_t(n) * groups * in_dim);
      for (float& x : keys) x = static_cast<float>(small(random_));
      const std::vector<PageId> pages = {3, 1, 4};
      const AppendDigestsParams expected = {.store = store.get(),
                                            .slot = 1,
                                            .pages = pages,
                                            .first = 5,
                                            .n_tokens = n,
                                            .keys = keys.data(),
                                            .map = map.data(),
                                            .in_dim = in_dim};
      const cuda::AppendDigestsParams params = {.store = {base, layout},
                                                .pages = Pages(pages),
                                                .first = 5,
                                                .n_tokens = n,
                                                .keys = ToDevice(keys)};
      Device device(1);
      AppendDigests(device, {&expected, 1});
      cuda::AppendDigests(device_map, {&params, 1}, workspace());
      const std::uint8_t* bits = store->Slot(0, 0);
      EXPECT_TRUE(FromDevice(base, bytes) == std::vector<std::uint8_t>(bits, bits + bytes))
          << groups << " groups, " << n << " tokens";
    }
  }
}

TEST_F(AppendGpuTest, DigestsOfAnyKeysAreWithinOneCodeOfTheCpu) {
  constexpr std::int32_t kDim = 128;
  constexpr std::int32_t kTokens = 200;
  const DigestLayout layout = {.n_slots = 1, .n_groups = 2, .rank = 32, .page_size = 64};
  const std::unique_ptr<DigestStore> store = DigestStore::Create(layout, 4).value();
  const std::size_t bytes = layout.page_bytes() * 4;
  std::uint8_t* base = ToDevice(store->Slot(0, 0), bytes);
  const std::vector<PageId> pages = {2, 0, 3, 1};
  // A deviation of about 60 codes: some are cut off at 127.
  const std::vector<float> map = RandomFloats(random_, std::size_t{2} * 32 * kDim, 5);
  const std::vector<float> keys = RandomFloats(random_, std::size_t{kTokens} * 2 * kDim);
  const AppendDigestsParams expected = {.store = store.get(),
                                        .slot = 0,
                                        .pages = pages,
                                        .first = 0,
                                        .n_tokens = kTokens,
                                        .keys = keys.data(),
                                        .map = map.data(),
                                        .in_dim = kDim};
  const cuda::AppendDigestsParams params = {
      .store = {base, layout}, .pages = Pages(pages), .n_tokens = kTokens, .keys = ToDevice(keys)};
  Device device(1);
  AppendDigests(device, {&expected, 1});
  cuda::AppendDigests({.slot = 0, .map = ToDevice(map), .in_dim = kDim}, {&params, 1}, workspace());
  const std::vector<std::uint8_t> codes = FromDevice(base, bytes);
  int differ = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    const int difference = std::abs(codes[i] - store->Slot(0, 0)[i]);
    ASSERT_LE(difference, 1);
    differ += difference;
  }
  EXPECT_LT(differ, kTokens * 2 * 32 / 1000);
}

TEST_F(AppendGpuTest, GatheredRowsAreTheStoresBytes) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    for (const std::int32_t heads : {1, 3, 8}) {
      if (type == KvType::kInt8 && heads < 8) continue;  // rows are not whole pieces
      const KvLayout layout = {
          .n_layers = 2, .n_kv_heads = heads, .head_dim = 64, .page_size = kPage, .type = type};
      const std::size_t row_bytes = layout.row_bytes();
      const std::size_t bytes = layout.page_bytes() * 9;
      std::vector<std::byte> store(bytes);
      for (std::byte& b : store) b = static_cast<std::byte>(random_());
      const cuda::KvPages pinned = {ToPinned(store.data(), bytes), layout};
      const std::vector<PageId> pages = {4, 8, 1, 0, 6};
      for (const std::int32_t n : {0, 1, 2, 17, 64}) {
        std::vector<std::int32_t> rows(n);
        std::vector<std::int32_t> slots(n);
        for (std::int32_t& row : rows) row = static_cast<std::int32_t>(random_() % (5 * kPage));
        std::iota(slots.begin(), slots.end(), 3);
        std::shuffle(slots.begin(), slots.end(), random_);
        for (const bool slotted : {false, true}) {
          std::byte* to = TakeBytes((n + 3) * row_bytes);
          const cuda::GatherRowsParams params = {.store = pinned,
                                                 .pages = Pages(pages),
                                                 .rows = ToDevice(rows),
                                                 .slots = slotted ? ToDevice(slots) : nullptr,
                                                 .n = n,
                                                 .to = to};
          cuda::GatherRows(1, {&params, 1}, workspace());
          const std::vector<std::byte> got = FromDevice(to, (n + 3) * row_bytes);
          for (std::int32_t i = 0; i < n; ++i) {
            const std::byte* from = store.data() + pages[rows[i] / kPage] * layout.page_bytes() +
                                    layout.offset(1, rows[i] % kPage);
            const std::size_t slot = slotted ? slots[i] : i;
            ASSERT_EQ(std::memcmp(got.data() + slot * row_bytes, from, row_bytes), 0)
                << "row " << i;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace keyhole
