#include "engine/kv/page_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <utility>
#include <vector>

#include "engine/kv/invariants.h"
#include "engine/kv/reservation.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(PagePoolTest, AllocatesAllOrNothing) {
  PagePool pool(5);
  const auto pages = pool.Allocate(3);
  ASSERT_TRUE(pages.ok());
  EXPECT_THAT(*pages, SizeIs(3));
  EXPECT_EQ(pool.Allocate(3).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(pool.n_free(), 2);
  EXPECT_THAT(*pool.Allocate(0), IsEmpty());
}

TEST(PagePoolTest, SharedPagesLiveUntilTheLastOwner) {
  std::vector<PageId> freed;
  PagePool pool(2, [&](PageId page) { freed.push_back(page); });
  const std::vector<PageId> pages = *pool.Allocate(1);
  pool.Retain(pages[0]);
  pool.Release(pages);
  EXPECT_EQ(pool.n_used(), 1);
  EXPECT_THAT(freed, IsEmpty());
  pool.Release(pages);
  EXPECT_EQ(pool.n_used(), 0);
  EXPECT_THAT(freed, ElementsAre(pages[0]));
}

TEST(PageTableTest, MovesItsPages) {
  PagePool pool(4);
  PageTable table(&pool, *pool.Allocate(2));
  PageTable other(&pool, *pool.Allocate(1));
  other = std::move(table);
  EXPECT_THAT(other.pages(), SizeIs(2));
  EXPECT_EQ(pool.n_used(), 2);  // what `other` had went back
  other = PageTable();
  EXPECT_EQ(pool.n_used(), 0);
}

TEST(ReservationTest, GivesBackWhatIsNotCommitted) {
  PagePool pool(4);
  { const auto reservation = Reservation::Reserve(&pool, 3); }
  EXPECT_EQ(pool.n_free(), 4);
  EXPECT_FALSE(Reservation::Reserve(&pool, 5).ok());
  EXPECT_EQ(pool.n_free(), 4);
  PageTable table;
  {
    auto reservation = Reservation::Reserve(&pool, 3);
    table = std::move(*reservation).Commit();
  }
  EXPECT_EQ(pool.n_free(), 1);
}

TEST(InvariantsTest, SeesEveryKindOfDamage) {
  PagePool pool(4);
  const std::vector<PageId> pages = *pool.Allocate(2);
  EXPECT_THAT(Violations(Snapshot(pool, {pages})), IsEmpty());
  EXPECT_THAT(Violations(Snapshot(pool, {})), SizeIs(2));              // leaked
  EXPECT_THAT(Violations(Snapshot(pool, {pages, pages})), SizeIs(2));  // held twice
  EXPECT_THAT(Violations(Snapshot(pool, {pages, {7}})), SizeIs(1));    // does not exist
  PageSnapshot snapshot = Snapshot(pool, {pages});
  snapshot.free_pages.push_back(pages[0]);  // free and in use
  EXPECT_THAT(Violations(snapshot), SizeIs(1));
  snapshot = Snapshot(pool, {pages});
  snapshot.free_pages.pop_back();  // lost
  EXPECT_THAT(Violations(snapshot), SizeIs(1));
}

TEST(InvariantsTest, HoldUnderRandomUse) {
  std::mt19937 random(3);
  PagePool pool(32);
  std::vector<std::vector<PageId>> holders;
  for (int round = 0; round < 20000; ++round) {
    const auto action = random() % 3;
    if (action == 0) {
      if (auto pages = pool.Allocate(static_cast<std::int32_t>(random() % 6)); pages.ok()) {
        holders.push_back(*std::move(pages));
      }
    } else if (!holders.empty()) {
      const std::size_t chosen = random() % holders.size();
      if (action == 1) {
        for (const PageId page : holders[chosen]) pool.Retain(page);
        holders.push_back(std::vector<PageId>(holders[chosen]));
      } else {
        pool.Release(holders[chosen]);
        holders.erase(holders.begin() + static_cast<std::ptrdiff_t>(chosen));
      }
    }
    if (round % 100 == 0) {
      ASSERT_THAT(Violations(Snapshot(pool, holders)), IsEmpty());
    }
  }
}

}  // namespace
}  // namespace keyhole
