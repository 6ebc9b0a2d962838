#include "engine/kv/hot_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <random>
#include <set>

namespace keyhole {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr KvLayout kLayout = {.n_layers = 2, .n_kv_heads = 1, .head_dim = 8, .page_size = 4};
constexpr std::int32_t kPages = 6;

// Of layer 0: row r of page p has the number 8 p + r.
struct Answer {
  absl::Status status;
  std::vector<std::int32_t> slots;
  std::vector<std::int32_t> loads;  // rows
};

Answer Resolve(HotRows& hot, const std::vector<std::int32_t>& rows, std::int32_t layer = 0) {
  std::vector<RowMove> moves;
  Answer answer;
  answer.slots.assign(rows.size(), -7);
  answer.status = hot.Resolve(layer, rows, answer.slots, moves);
  for (const RowMove& move : moves) {
    EXPECT_EQ(hot.slot(move.from), move.to);
    answer.loads.push_back(move.from);
  }
  return answer;
}

TEST(HotRowsTest, RowsKeepTheirSlotsAndTheOldestGiveWay) {
  HotRows hot(kLayout, kPages, 3);
  EXPECT_THAT(Resolve(hot, {8, 1}).loads, ElementsAre(8, 1));
  EXPECT_THAT(Resolve(hot, {1, 2}).loads, ElementsAre(2)) << "an empty slot first";
  EXPECT_THAT(Resolve(hot, {8}).loads, IsEmpty());
  EXPECT_THAT(Resolve(hot, {3}).loads, ElementsAre(3));
  EXPECT_EQ(hot.slot(1), HotRows::kNone) << "used before 2 and 8";
  EXPECT_THAT(Resolve(hot, {2, 8, 3}).loads, IsEmpty());
}

TEST(HotRowsTest, ABatchNeverTakesItsOwnSlots) {
  HotRows hot(kLayout, kPages, 3);
  Resolve(hot, {0, 1, 2});
  const Answer answer = Resolve(hot, {8, 0, 9});
  EXPECT_THAT(answer.loads, ElementsAre(8, 9));
  EXPECT_THAT(answer.slots, ElementsAre(1, 0, 2));
}

TEST(HotRowsTest, ARowThatComesTwiceHasOneSlot) {
  HotRows hot(kLayout, kPages, 2);
  const Answer answer = Resolve(hot, {3, 9, 3, 9, 3});
  EXPECT_THAT(answer.loads, ElementsAre(3, 9));
  EXPECT_THAT(answer.slots, ElementsAre(0, 1, 0, 1, 0));
}

TEST(HotRowsTest, TooManyRowsChangeNothing) {
  HotRows hot(kLayout, kPages, 2);
  Resolve(hot, {1, 2});
  EXPECT_EQ(Resolve(hot, {1, 3, 8}).status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(hot.slot(3), HotRows::kNone);
  EXPECT_THAT(Resolve(hot, {2, 1}).loads, IsEmpty());
  HotRows none(kLayout, kPages, 0);
  EXPECT_EQ(Resolve(none, {1}).status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Resolve(none, {}).status.ok());
  none.ForgetPage(0);
}

TEST(HotRowsTest, LayersAreApart) {
  HotRows hot(kLayout, kPages, 1);
  Resolve(hot, {1});
  EXPECT_THAT(Resolve(hot, {5}, 1).loads, ElementsAre(5));
  EXPECT_THAT(Resolve(hot, {1}).loads, IsEmpty());
}

TEST(HotRowsTest, ForgottenRowsAreFetchedAgainAndTheirSlotsAreTakenFirst) {
  HotRows hot(kLayout, kPages, 3);
  Resolve(hot, {0, 8, 9});
  Resolve(hot, {5, 12}, 1);
  hot.ForgetPage(1);
  EXPECT_EQ(hot.slot(8), HotRows::kNone);
  EXPECT_EQ(hot.slot(12), HotRows::kNone) << "of every layer";
  EXPECT_THAT(Resolve(hot, {1, 9}).loads, ElementsAre(1, 9));
  EXPECT_EQ(hot.slot(0), 0);
  hot.ForgetRow(0);
  hot.ForgetRow(0);
  EXPECT_THAT(Resolve(hot, {0}).loads, ElementsAre(0));
}

// Against a list with the newest rows at its end.
TEST(HotRowsTest, IsTheLruOfTheBook) {
  std::mt19937 random(11);
  constexpr std::size_t kSlots = 7;
  HotRows hot(kLayout, kPages, kSlots);
  std::list<std::int32_t> book;
  for (int batch = 0; batch < 2000; ++batch) {
    std::vector<std::int32_t> rows;
    for (std::size_t i = random() % (kSlots + 1); i > 0; --i) {
      rows.push_back(static_cast<std::int32_t>(random() % kPages * 8 + random() % 4));
    }
    std::vector<std::int32_t> hits;
    std::vector<std::int32_t> misses;
    for (const std::int32_t row : rows) {
      const bool hit = std::find(book.begin(), book.end(), row) != book.end();
      std::vector<std::int32_t>& list = hit ? hits : misses;
      if (std::find(list.begin(), list.end(), row) == list.end()) list.push_back(row);
    }
    const Answer answer = Resolve(hot, rows);
    ASSERT_TRUE(answer.status.ok());
    ASSERT_EQ(answer.loads, misses);
    for (const std::int32_t row : hits) book.remove(row);
    while (book.size() + hits.size() + misses.size() > kSlots) book.pop_front();
    book.insert(book.end(), hits.begin(), hits.end());
    book.insert(book.end(), misses.begin(), misses.end());
    std::set<std::int32_t> slots;
    for (const std::int32_t row : book) slots.insert(hot.slot(row));
    ASSERT_EQ(slots.size(), book.size());
    ASSERT_EQ(slots.count(HotRows::kNone), 0U);
    for (std::size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(answer.slots[i], hot.slot(rows[i]));
    if (random() % 10 == 0 && !book.empty()) {
      hot.ForgetRow(book.front());
      book.pop_front();
    }
  }
}

}  // namespace
}  // namespace keyhole
