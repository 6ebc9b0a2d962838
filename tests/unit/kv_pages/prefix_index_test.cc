#include "engine/kv/prefix_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/kv/invariants.h"

namespace keyhole {
namespace {

using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

// A chunk and those before it, one letter each: the letters are the identity.
ChunkKey KeyOf(const std::string& path) {
  ChunkKey key = {};
  std::copy(path.begin(), path.end(), key.begin());
  return key;
}

std::vector<ChunkKey> Keys(const std::string& path) {
  std::vector<ChunkKey> keys;
  for (std::size_t n = 1; n <= path.size(); ++n) keys.push_back(KeyOf(path.substr(0, n)));
  return keys;
}

std::vector<PageId> PagesOf(const PageTable& table) {
  return {table.pages().begin(), table.pages().end()};
}

class PrefixIndexTest : public ::testing::Test {
 protected:
  // Publishes a path by a sequence that goes at once; its pages.
  std::vector<PageId> Publish(const std::string& path) {
    const PageTable pages = Compute(path);
    index_.Publish(Keys(path), pages.pages());
    return PagesOf(pages);
  }

  PageTable Compute(const std::string& path) {
    return PageTable(&pool_, *pool_.Allocate(2 * static_cast<std::int32_t>(path.size())));
  }

  std::int32_t Match(const std::string& path) const { return index_.Match(Keys(path)); }

  PagePool pool_{20};
  PrefixIndex index_{{.pages_per_chunk = 2, .max_pages = 10}, &pool_};
};

TEST_F(PrefixIndexTest, FindsTheLongestRun) {
  const std::vector<PageId> pages = Publish("abc");
  EXPECT_EQ(Match("abcd"), 3);
  EXPECT_EQ(Match("abx"), 2);
  EXPECT_EQ(Match("xbc"), 0);
  EXPECT_EQ(Match(""), 0);
  EXPECT_EQ(pool_.n_used(), 6);
  const PageTable table = index_.Acquire(Keys("ab"));
  EXPECT_THAT(table.pages(), ElementsAreArray({pages[0], pages[1], pages[2], pages[3]}));
  EXPECT_EQ(pool_.references(pages[0]), 2);
  EXPECT_EQ(pool_.references(pages[4]), 1);
  EXPECT_EQ(index_.n_idle_pages(), 2);
}

TEST_F(PrefixIndexTest, WhatIsHereKeepsItsPages) {
  const std::vector<PageId> first = Publish("ab");
  const std::vector<PageId> second = Publish("abc");  // the same chunks, computed again
  const PageTable table = index_.Acquire(Keys("abc"));
  EXPECT_THAT(table.pages(),
              ElementsAreArray({first[0], first[1], first[2], first[3], second[4], second[5]}));
  EXPECT_EQ(pool_.n_used(), 6);
}

TEST_F(PrefixIndexTest, TheLeastRecentlyUsedLeafGoesFirst) {
  Publish("ab");
  Publish("ac");
  Publish("x");
  index_.Acquire(Keys("ab"));  // used: now "ac" is the oldest leaf
  Publish("yz");
  EXPECT_EQ(Match("ac"), 1);
  EXPECT_EQ(Match("ab"), 2);
  EXPECT_EQ(Match("x"), 1);
  EXPECT_EQ(Match("yz"), 2);
  EXPECT_EQ(index_.n_pages(), 10);
  EXPECT_EQ(index_.n_evicted_pages(), 2);
  Publish("v");
  EXPECT_EQ(Match("x"), 0);
}

TEST_F(PrefixIndexTest, ALongPromptKeepsItsBeginning) {
  Publish("x");
  Publish("abcdefgh");
  EXPECT_EQ(Match("abcdefgh"), 5);
  EXPECT_EQ(Match("x"), 0);
  EXPECT_EQ(index_.n_pages(), 10);
}

TEST_F(PrefixIndexTest, MatchingIsNoUse) {
  Publish("a");
  Publish("bcde");
  EXPECT_EQ(Match("a"), 1);
  Publish("f");
  EXPECT_EQ(Match("a"), 0);
}

TEST_F(PrefixIndexTest, GivesWayToAdmissions) {
  Publish("ab");
  Publish("xy");
  EXPECT_TRUE(index_.EvictFor(12));  // free already
  EXPECT_EQ(index_.n_evicted_pages(), 0);
  EXPECT_TRUE(index_.EvictFor(13));
  EXPECT_EQ(pool_.n_free(), 14);
  EXPECT_EQ(Match("ab"), 1);
  EXPECT_EQ(Match("xy"), 2);
  EXPECT_TRUE(index_.EvictFor(20));
  EXPECT_EQ(index_.n_pages(), 0);
}

TEST_F(PrefixIndexTest, WhatIsInUseStaysAndWhatCannotHelpStays) {
  Publish("ab");
  Publish("xy");
  const PageTable table = index_.Acquire(Keys("ab"));
  EXPECT_FALSE(index_.EvictFor(17));  // 12 free, 4 idle
  EXPECT_EQ(index_.n_pages(), 8);
  EXPECT_TRUE(index_.EvictFor(16));
  EXPECT_EQ(Match("ab"), 2);
  EXPECT_EQ(Match("xy"), 0);
}

// Pages of "a" are of a sequence that is gone, those of "ab" of one that runs.
TEST_F(PrefixIndexTest, AnIdleEntryAboveOneInUseCanBeFreed) {
  Publish("a");
  const PageTable running = Compute("ab");
  index_.Publish(Keys("ab"), running.pages());
  EXPECT_EQ(index_.n_idle_pages(), 2);
  EXPECT_TRUE(index_.EvictFor(pool_.n_free() + 2));
  EXPECT_EQ(index_.n_pages(), 0);
  EXPECT_EQ(pool_.n_used(), 4);
  index_.Publish(Keys("ab"), running.pages());  // the sequence's next chunk brings it back
  EXPECT_EQ(Match("ab"), 2);
}

TEST_F(PrefixIndexTest, ALimitBelowAChunkHoldsNothing) {
  PrefixIndex none({.pages_per_chunk = 2, .max_pages = 1}, &pool_);
  const PageTable pages = Compute("ab");
  none.Publish(Keys("ab"), pages.pages());
  EXPECT_EQ(none.n_pages(), 0);
}

TEST_F(PrefixIndexTest, GivesItsPagesBackWhenItGoes) {
  {
    PrefixIndex index({.pages_per_chunk = 2, .max_pages = 10}, &pool_);
    const PageTable pages = Compute("ab");
    index.Publish(Keys("ab"), pages.pages());
  }
  EXPECT_EQ(pool_.n_used(), 0);
}

// Against a model that keeps, for each page in use, the chunk that it was computed for.
TEST_F(PrefixIndexTest, RandomUseKeepsEveryPageWithItsChunk) {
  std::mt19937 random(11);
  std::map<PageId, std::string> content;
  std::vector<std::pair<std::string, PageTable>> running;
  for (int round = 0; round < 20000; ++round) {
    const auto action = random() % 4;
    if (action < 2) {
      std::string path(1 + random() % 4, 'a');
      for (char& c : path) c = static_cast<char>('a' + random() % 3);
      const auto cached = static_cast<std::size_t>(Match(path));
      PageTable table = index_.Acquire(Keys(path.substr(0, cached)));
      for (std::size_t i = 0; i < table.pages().size(); ++i) {
        ASSERT_EQ(content[table.pages()[i]], path.substr(0, i / 2 + 1));
      }
      const auto n_fresh = static_cast<std::int32_t>(2 * (path.size() - cached));
      const std::int32_t idle = index_.n_idle_pages();
      const bool enough = pool_.n_free() + idle >= n_fresh;
      ASSERT_EQ(index_.EvictFor(n_fresh), enough);
      if (!enough) {
        ASSERT_EQ(index_.n_idle_pages(), idle);  // nothing was dropped for nothing
        continue;
      }
      const std::vector<PageId> fresh = *pool_.Allocate(n_fresh);
      for (std::size_t i = 0; i < fresh.size(); ++i) {
        content[fresh[i]] = path.substr(0, cached + i / 2 + 1);
      }
      table.Append(&pool_, fresh);
      running.emplace_back(path, std::move(table));
    } else if (!running.empty()) {
      const std::size_t chosen = random() % running.size();
      const auto& [path, table] = running[chosen];
      const std::size_t n = random() % (path.size() + 1);
      if (action == 2) {
        index_.Publish(Keys(path.substr(0, n)), table.pages().first(2 * n));
      } else {
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(chosen));
      }
    }
    ASSERT_LE(index_.n_pages(), 10);
    std::vector<std::vector<PageId>> holders = index_.Holders();
    for (const auto& [path, table] : running) holders.push_back(PagesOf(table));
    ASSERT_THAT(Violations(Snapshot(pool_, std::move(holders))), IsEmpty());
  }
}

}  // namespace
}  // namespace keyhole
