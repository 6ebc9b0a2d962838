#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "engine/kv/digest_store.h"
#include "engine/kv/host_store.h"
#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/half_float.h"

namespace keyhole::cuda {
namespace {

const std::vector<PageId> kPages = {4, 0, 7, 2};

TEST(PlaceTest, RowsOfPagesAreWhereTheHostStoreHasThem) {
  const KvLayout layout = {
      .n_layers = 3, .n_kv_heads = 3, .head_dim = 64, .page_size = 24, .type = KvType::kBF16};
  const std::unique_ptr<HostStore> store = HostStore::Create(layout, 8).value();
  const KvPages pages = {store->LayerRows(0, 0), layout};
  for (std::int32_t layer = 0; layer < layout.n_layers; ++layer) {
    for (std::int32_t row = 0; row < 4 * layout.page_size; ++row) {
      const std::byte* expected = store->LayerRows(kPages[row / layout.page_size], layer) +
                                  (row % layout.page_size) * layout.row_bytes();
      const RowPlace keys = KeysIn(pages);
      const RowPlace values = ValuesIn(pages);
      const auto at = [&](const RowPlace& place) {
        return reinterpret_cast<const std::byte*>(place.base) +
               RowOffset(place, kPages.data(), layer, row);
      };
      ASSERT_EQ(at(keys), expected) << "row " << row;
      ASSERT_EQ(at(values), expected + layout.row_bytes() / 2) << "row " << row;
    }
  }
}

TEST(PlaceTest, OffsetsOfFarPagesDoNotOverflow) {
  const RowPlace place = {
      .row_bytes = 4096, .layer_bytes = 64 * 4096, .page_bytes = 8 << 20, .page_size = 64};
  const PageId last = 16383;  // a million tokens of 32 layers: 128 GiB
  EXPECT_EQ(RowOffset(place, &last, 31, 63), 16383LL * (8 << 20) + 31LL * 64 * 4096 + 63LL * 4096);
}

TEST(PlaceTest, RowsOfARingAreWhereTheWindowHasThem) {
  std::vector<std::byte> memory(std::size_t{1} << 12);
  const KeyRing ring = {.base = memory.data(), .capacity = 7, .row_bytes = 96};
  const RowPlace place = RowsIn(ring);
  for (std::int32_t row : {0, 1, 6, 7, 8, 700, 1'000'003}) {
    EXPECT_EQ(reinterpret_cast<std::byte*>(place.base) + RowOffset(place, nullptr, 0, row),
              ring.Row(row));
  }
}

TEST(PlaceTest, DigestsAreWhereTheDigestStoreHasThem) {
  const DigestLayout layout = {.n_slots = 3, .n_groups = 3, .rank = 20, .page_size = 48};
  const std::unique_ptr<DigestStore> store = DigestStore::Create(layout, 8).value();
  const DigestPlace place = DigestsIn({store->Slot(0, 0), layout});
  for (std::int32_t row = 0; row < 4 * layout.page_size; ++row) {
    for (std::int32_t group = 0; group < layout.n_groups; ++group) {
      for (std::int32_t dim = 0; dim < layout.rank; ++dim) {
        const std::uint8_t* expected = store->Slot(kPages[row / layout.page_size], 2) +
                                       layout.offset(row % layout.page_size, group, dim);
        const unsigned char* at = place.base + DigestOffset(place, kPages.data(), 2, row, group) +
                                  dim / 4 * kQuadBytes + dim % 4;
        ASSERT_EQ(at, expected) << "row " << row << ", group " << group << ", dim " << dim;
      }
    }
  }
  // Four tokens' codes of a quad are one aligned piece.
  EXPECT_EQ(
      DigestOffset(place, kPages.data(), 0, 5, 1) - DigestOffset(place, kPages.data(), 0, 4, 1), 4);
  EXPECT_EQ(DigestOffset(place, kPages.data(), 2, 64, 2) % 16, 0);
}

TEST(PlaceTest, CodesBecomeSigned) {
  for (int code = -127; code <= 127; ++code) {
    const auto biased = static_cast<std::uint32_t>(code + kCodeBias) * 0x01010101U;
    EXPECT_EQ(static_cast<std::int8_t>((biased ^ kToSigned) & 0xFF), code);
  }
}

TEST(Bf16Test, RoundsAsTheCpuDoes) {
  std::mt19937 random(3);
  std::vector<std::uint32_t> bits = {0,
                                     0x80000000U,
                                     0x7F800000U,
                                     0xFF800000U,
                                     0x7F7FFFFFU,
                                     0x7F7F8000U,
                                     0x3F808000U,
                                     0x3F818000U,
                                     1,
                                     0x00008000U};
  for (int i = 0; i < 100000; ++i) bits.push_back(static_cast<std::uint32_t>(random()));
  for (const std::uint32_t b : bits) {
    const auto x = std::bit_cast<float>(b);
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(x))));
      continue;
    }
    ASSERT_EQ(FloatToBf16(x), Float32ToBf16(x)) << std::hex << b;
  }
  const std::uint32_t pair = PackBf16(1.5F, -2);
  EXPECT_EQ(LowBf16(pair), 1.5F);
  EXPECT_EQ(HighBf16(pair), -2.0F);
  EXPECT_EQ(PackExactBf16(1.5F, -2), pair);
}

}  // namespace
}  // namespace keyhole::cuda
