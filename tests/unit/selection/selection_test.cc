#include "engine/selection/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyhole {
namespace {

constexpr SelectionSizes kSizes = {.initial = 4, .local = 10, .selected = 3};

TEST(PartitionTest, ShortPastIsLocal) {
  for (const std::int32_t past : {0, 1, 9, 10}) {
    const Selection s = Partition(past, kSizes);
    EXPECT_EQ(s.local, (RowRange{0, past}));
    EXPECT_TRUE(s.initial.empty());
    EXPECT_TRUE(s.middle.empty());
    EXPECT_EQ(s.n_selected(), 0);
  }
}

TEST(PartitionTest, InitialFillsBeforeTheMiddle) {
  EXPECT_EQ(Partition(12, kSizes).initial, (RowRange{0, 2}));
  EXPECT_TRUE(Partition(14, kSizes).middle.empty());
  const Selection s = Partition(15, kSizes);
  EXPECT_EQ(s.initial, (RowRange{0, 4}));
  EXPECT_EQ(s.middle, (RowRange{4, 5}));
  EXPECT_EQ(s.local, (RowRange{5, 15}));
}

TEST(PartitionTest, PartsCoverThePastOnce) {
  for (std::int32_t past = 0; past < 60; ++past) {
    for (const SelectionSizes& sizes :
         {kSizes, SelectionSizes{0, 10, 3}, SelectionSizes{4, 0, 3}, SelectionSizes{0, 0, 0}}) {
      const Selection s = Partition(past, sizes);
      std::vector<std::int32_t> rows;
      for (const RowRange& part : {s.initial, s.middle, s.local}) {
        for (std::int32_t row = part.begin; row < part.end; ++row) rows.push_back(row);
      }
      ASSERT_EQ(rows.size(), past);
      for (std::int32_t i = 0; i < past; ++i) ASSERT_EQ(rows[i], i);
    }
  }
}

TEST(SelectionTest, CountsChosenRows) {
  Selection s = Partition(100, kSizes);
  s.selected = {5, 9};
  EXPECT_EQ(s.n_selected(), 2);
  s.selected.clear();
  s.all_of_middle = true;
  EXPECT_EQ(s.n_selected(), 86);
}

}  // namespace
}  // namespace keyhole
