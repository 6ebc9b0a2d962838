#include "engine/parallel/shard.h"

#include <gtest/gtest.h>

namespace keyhole {
namespace {

TEST(Shard, OneRankHoldsEverything) {
  EXPECT_EQ(Split(160, 32, {}), (ShardRange{0, 160}));
  EXPECT_EQ(Split(7, 32, {}), (ShardRange{0, 7}));
}

TEST(Shard, EvenPartsInTheOrderOfRanks) {
  EXPECT_EQ(Split(8, 1, {0, 2}), (ShardRange{0, 4}));
  EXPECT_EQ(Split(8, 1, {1, 2}), (ShardRange{4, 4}));
}

TEST(Shard, BordersLieBetweenUnits) {
  // 43 blocks of 256: Llama 2's FFN.
  EXPECT_EQ(Split(11008, 256, {0, 2}), (ShardRange{0, 5376}));
  EXPECT_EQ(Split(11008, 256, {1, 2}), (ShardRange{5376, 5632}));
}

TEST(Shard, PartsCoverEverythingOnce) {
  for (const std::int64_t total : {1, 5, 31, 32, 33, 160, 49152, 128256}) {
    for (const std::int64_t unit : {1, 32, 256}) {
      for (const std::int32_t size : {1, 2, 3, 4, 7}) {
        std::int64_t end = 0;
        for (std::int32_t rank = 0; rank < size; ++rank) {
          const ShardRange part = Split(total, unit, {rank, size});
          EXPECT_EQ(part.begin, end);
          EXPECT_GE(part.size, 0);
          EXPECT_TRUE(part.begin % unit == 0 || part.begin == total);
          end = part.end();
        }
        EXPECT_EQ(end, total);
      }
    }
  }
}

TEST(Shard, ARangeOfHeadsIsARangeOfTheirRows) {
  EXPECT_EQ((ShardRange{3, 2} * 64), (ShardRange{192, 128}));
}

}  // namespace
}  // namespace keyhole
