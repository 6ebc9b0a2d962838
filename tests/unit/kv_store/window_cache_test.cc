#include "engine/kv/window_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace keyhole {
namespace {

constexpr KvLayout kLayout = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 8, .type = KvType::kBF16};

TEST(KeyWindowTest, AdvancesOverNewRowsOnly) {
  KeyWindow window(kLayout, 12);
  EXPECT_EQ(window.Advance(0, {0, 4}, 0), (RowRange{0, 4}));
  EXPECT_EQ(window.Advance(0, {0, 8}, 4), (RowRange{4, 8}));
  EXPECT_EQ(window.Advance(0, {1, 9}, 8), (RowRange{8, 9}));
  EXPECT_EQ(window.Advance(1, {0, 4}, 0), (RowRange{0, 4})) << "layers are apart";
}

TEST(KeyWindowTest, FillsWhatItDoesNotHold) {
  KeyWindow window(kLayout, 12);
  EXPECT_EQ(window.Advance(0, {100, 110}, 109), (RowRange{100, 110})) << "pages from elsewhere";
  EXPECT_EQ(window.Advance(0, {105, 112}, 110), (RowRange{110, 112}));
  EXPECT_EQ(window.Advance(0, {120, 125}, 124), (RowRange{120, 125})) << "a gap";
  EXPECT_EQ(window.Advance(0, {118, 126}, 125), (RowRange{118, 126})) << "older than held";
}

TEST(KeyWindowTest, WritesAStepAgainThatDidNotCount) {
  KeyWindow window(kLayout, 12);
  window.Advance(0, {0, 8}, 0);
  EXPECT_EQ(window.Advance(0, {0, 8}, 4), (RowRange{4, 8}));
  EXPECT_EQ(window.Advance(0, {0, 8}, 0), (RowRange{0, 8}));
}

TEST(KeyWindowTest, RowsOfALayerHaveTheirOwnBytes) {
  KeyWindow window(kLayout, 5);
  std::map<std::byte*, int> places;
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    const KeyRing ring = window.Ring(layer);
    EXPECT_EQ(ring.row_bytes, 32U);
    EXPECT_EQ(ring.Row(7), ring.Row(2));
    for (std::int32_t row = 0; row < 5; ++row) ++places[ring.Row(row)];
  }
  EXPECT_EQ(places.size(), 15U);
  EXPECT_EQ(places.rbegin()->first - places.begin()->first, 14 * 32);
}

TEST(WindowCacheTest, AWindowHasKeysOfAllLayers) {
  EXPECT_EQ(WindowBytes(kLayout, 10), 3U * 10 * 32);
}

TEST(WindowCacheTest, OneWindowPerSequenceUntilItCloses) {
  WindowCache cache(kLayout, 10);
  KeyWindow& a = cache.Open(1);
  a.Advance(0, {0, 4}, 0);
  KeyWindow& b = cache.Open(2);
  EXPECT_NE(&a, &b);
  EXPECT_EQ(&cache.Open(1), &a);
  EXPECT_EQ(cache.n_open(), 2U);
  cache.Close(1);
  cache.Close(77);
  EXPECT_EQ(cache.n_open(), 1U);
  EXPECT_EQ(cache.Open(1).Advance(0, {0, 5}, 4), (RowRange{0, 5}));
}

}  // namespace
}  // namespace keyhole
