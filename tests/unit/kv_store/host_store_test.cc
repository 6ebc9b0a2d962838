#include "engine/kv/host_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <limits>
#include <vector>

namespace keyhole {
namespace {

KvLayout SmallLayout() {
  return {.n_layers = 3, .n_kv_heads = 2, .head_dim = 64, .page_size = 16, .type = KvType::kF32};
}

std::unique_ptr<HostStore> Make(const KvLayout& layout, std::int32_t n_pages) {
  auto store = HostStore::Create(layout, n_pages);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

// Bytes of [begin, begin + size) that physical memory backs.
std::size_t ResidentBytes(const std::byte* begin, std::size_t size) {
  const auto unit = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((size + unit - 1) / unit);
  EXPECT_EQ(mincore(const_cast<std::byte*>(begin), size, resident.data()), 0);
  std::size_t n = 0;
  for (const unsigned char page : resident) n += page & 1;
  return n * unit;
}

TEST(HostStoreTest, EveryRowHasItsOwnBytes) {
  const KvLayout layout = SmallLayout();
  const auto store = Make(layout, 5);
  for (PageId page = 0; page < 5; ++page) {
    for (std::int32_t layer = 0; layer < layout.n_layers; ++layer) {
      std::memset(store->LayerRows(page, layer), page * 16 + layer + 1, layout.layer_bytes());
    }
  }
  for (PageId page = 0; page < 5; ++page) {
    for (std::int32_t layer = 0; layer < layout.n_layers; ++layer) {
      const std::byte* rows = store->LayerRows(page, layer);
      const auto value = static_cast<std::byte>(page * 16 + layer + 1);
      EXPECT_EQ(rows[0], value);
      EXPECT_EQ(rows[layout.layer_bytes() - 1], value);
    }
  }
}

TEST(HostStoreTest, ReservesMuchMoreThanTheMachineHas) {
  KvLayout layout = SmallLayout();
  layout.n_layers = 32;
  layout.n_kv_heads = 8;
  layout.head_dim = 128;
  layout.page_size = 64;
  const auto store = Make(layout, 100'000);  // 1.6 TiB
  ASSERT_NE(store, nullptr);
  store->LayerRows(99'999, 31)[0] = std::byte{7};
  EXPECT_EQ(store->LayerRows(99'999, 31)[0], std::byte{7});
}

TEST(HostStoreTest, DiscardGivesMemoryBackAndLeavesNeighboursAlone) {
  KvLayout layout = SmallLayout();
  layout.head_dim = 72;  // pages that begin inside a page of the system
  ASSERT_NE(layout.page_bytes() % sysconf(_SC_PAGESIZE), 0);
  const std::size_t total = 3 * layout.page_bytes();
  for (const PageId discarded : {0, 1}) {  // one ends, the other begins inside a page of the system
    const auto store = Make(layout, 3);
    std::memset(store->LayerRows(0, 0), 0x5A, total);
    const std::size_t before = ResidentBytes(store->LayerRows(0, 0), total);
    store->Discard(discarded);
    EXPECT_LE(ResidentBytes(store->LayerRows(0, 0), total), before - layout.page_bytes() + 8192);
    for (PageId page = 0; page < 3; ++page) {
      const std::byte* bytes = store->LayerRows(page, 0);
      for (std::size_t i = 0; page != discarded && i < layout.page_bytes(); ++i) {
        ASSERT_EQ(bytes[i], std::byte{0x5A}) << page;
      }
    }
  }
}

TEST(HostStoreTest, RefusesSizesThatAreZeroOrTooLarge) {
  KvLayout layout = SmallLayout();
  EXPECT_EQ(HostStore::Create(layout, 0).status().code(), absl::StatusCode::kInvalidArgument);
  layout.head_dim = 0;
  EXPECT_EQ(HostStore::Create(layout, 1).status().code(), absl::StatusCode::kInvalidArgument);
  layout = SmallLayout();
  layout.n_layers = std::numeric_limits<std::int32_t>::max();
  layout.page_size = 1 << 20;
  const auto huge = HostStore::Create(layout, std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ(huge.status().code(), absl::StatusCode::kInvalidArgument);
  layout.page_size = 64;
  layout.n_layers = 1 << 20;  // 2^47 bytes and more: no such address space
  const auto large = HostStore::Create(layout, 1 << 20);
  EXPECT_EQ(large.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(HostStoreTest, PinnedPagesAreOrdinaryOnesWhereNothingCanBePinned) {
  const KvLayout layout = SmallLayout();
  auto store = HostStore::CreatePinned(layout, 3);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->pinned(), (*store)->why_pageable().empty());
  std::memset((*store)->LayerRows(0, 0), 1, 3 * layout.page_bytes());
  (*store)->Discard(0);
  EXPECT_EQ((*store)->LayerRows(1, 0)[0], std::byte{1});
  EXPECT_EQ(HostStore::CreatePinned(layout, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(HostStore::CreatePinned({}, 3).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace keyhole
