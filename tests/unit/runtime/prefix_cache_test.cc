#include "engine/runtime/prefix_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

namespace keyhole {
namespace {

using ::testing::ElementsAreArray;

// Chunks of 8 tokens in 2 pages.
class PrefixCacheTest : public ::testing::Test {
 protected:
  static PrefixCacheSettings Settings() {
    return {
        .page_size = 4, .max_pages = 16, .rules = {.chunk_size = 8, .tail = 10}, .salt = "salt"};
  }

  std::unique_ptr<Sequence> Make(std::vector<TokenId> prompt, Request request = {}) {
    return std::make_unique<Sequence>(
        ++last_id_, std::move(request), std::move(prompt), OutputBudget{.max_output = 4});
  }

  static std::vector<TokenId> Prompt(std::int32_t length) {
    std::vector<TokenId> prompt(length);
    for (std::int32_t i = 0; i < length; ++i) prompt[i] = i % 7;
    return prompt;
  }

  // Starts it and computes its prompt, chunk by chunk; the tokens that were cached.
  std::int32_t Prefill(Sequence& sequence) {
    std::optional<PageGrant> grant = cache_.ReservePages(sequence);
    EXPECT_TRUE(grant);
    const std::int32_t cached_len = grant->cached_len;
    sequence.Start(std::move(grant->pages), cached_len);
    while (sequence.prompt_left() > 0) {
      sequence.CommitPrefill(std::min(8, sequence.prompt_left()), {});
      cache_.OnPrefill(sequence);
    }
    return cached_len;
  }

  // One that comes and goes.
  std::int32_t Serve(std::vector<TokenId> prompt, Request request = {}) {
    const auto sequence = Make(std::move(prompt), std::move(request));
    const std::int32_t expected = cache_.CachedLen(*sequence);
    const std::int32_t cached_len = Prefill(*sequence);
    EXPECT_EQ(cached_len, expected);
    cache_.OnEnd(sequence->id());
    return cached_len;
  }

  RequestId last_id_ = 0;
  PagePool pool_{40};
  PrefixCache cache_{Settings(), &pool_};
};

TEST_F(PrefixCacheTest, TheSamePromptTakesOverItsFullChunks) {
  EXPECT_EQ(Serve(Prompt(20)), 0);
  EXPECT_EQ(Serve(Prompt(20)), 16);
  EXPECT_EQ(Serve(Prompt(16)), 8);  // its last token is computed
  EXPECT_EQ(Serve(Prompt(30)), 16);
  EXPECT_EQ(Serve(Prompt(30)), 24);
  const PrefixCacheStats stats = cache_.stats();
  EXPECT_EQ(stats.queried_tokens, 116);
  EXPECT_EQ(stats.hit_tokens, 64);
  EXPECT_EQ(stats.pages, 6);
  EXPECT_EQ(stats.idle_pages, 6);
  EXPECT_EQ(pool_.n_used(), 6);
}

TEST_F(PrefixCacheTest, SharedPagesComeFirstAndFreshOnesBehind) {
  const auto first = Make(Prompt(20));
  Prefill(*first);
  const auto second = Make(Prompt(20));
  EXPECT_EQ(Prefill(*second), 16);
  const auto pages = second->pages().pages();
  ASSERT_EQ(pages.size(), 6);
  EXPECT_THAT(pages.first(4), ElementsAreArray(first->pages().pages().first(4)));
  EXPECT_NE(pages[4], first->pages().pages()[4]);
  EXPECT_EQ(pool_.n_used(), 8);
  EXPECT_EQ(cache_.stats().idle_pages, 0);
}

TEST_F(PrefixCacheTest, AnotherTokenEndsTheRun) {
  Serve(Prompt(30));
  std::vector<TokenId> prompt = Prompt(30);
  prompt[9] = 100;
  EXPECT_EQ(Serve(prompt), 8);
  prompt[0] = 100;
  EXPECT_EQ(Serve(prompt), 0);
}

TEST_F(PrefixCacheTest, ScopesAndSettingsThatChangeRowsShareNothing) {
  Serve(Prompt(20));
  Request request;
  request.cache_scope = "other";
  EXPECT_EQ(Serve(Prompt(20), request), 0);
  EXPECT_EQ(Serve(Prompt(20), request), 16);
  request = {};
  request.selection.force_full_attention = true;
  EXPECT_EQ(Serve(Prompt(20), request), 0);
}

TEST_F(PrefixCacheTest, BudgetsShareAllButTheTail) {
  Serve(Prompt(20));
  Request request;
  request.selection.selected_tokens = 64;
  EXPECT_EQ(Serve(Prompt(20), request), 8);  // the tail begins in the second chunk
  request.selection.selected_tokens = 65;
  EXPECT_EQ(Serve(Prompt(30), request), 16);
}

TEST_F(PrefixCacheTest, SettingsOfSamplingAndOutputDoNotMatter) {
  Serve(Prompt(20));
  Request request;
  request.sampling.temperature = 1;
  request.priority = 3;
  request.selection.profile = AttentionProfile::kProse;  // native positions
  EXPECT_EQ(Serve(Prompt(20), request), 16);
}

TEST_F(PrefixCacheTest, PagesAreKnownOnceTheirChunkIsCommitted) {
  const auto first = Make(Prompt(20));
  first->Start(std::move(cache_.ReservePages(*first)->pages));
  const auto second = Make(Prompt(20));
  EXPECT_EQ(cache_.CachedLen(*second), 0);
  first->CommitPrefill(8, {});
  cache_.OnPrefill(*first);
  EXPECT_EQ(cache_.CachedLen(*second), 8);
}

TEST_F(PrefixCacheTest, TwoAtOnceKeepTheFirstOnesPages) {
  const auto first = Make(Prompt(20));
  const auto second = Make(Prompt(20));
  first->Start(std::move(cache_.ReservePages(*first)->pages));
  second->Start(std::move(cache_.ReservePages(*second)->pages));
  for (Sequence* sequence : {first.get(), second.get()}) {
    sequence->CommitPrefill(8, {});
    cache_.OnPrefill(*sequence);
  }
  EXPECT_EQ(pool_.references(first->pages().pages()[0]), 2);
  EXPECT_EQ(pool_.references(second->pages().pages()[0]), 1);
}

TEST_F(PrefixCacheTest, IdlePagesNeverMakeARequestWait) {
  Serve(Prompt(60));  // 14 pages stay
  EXPECT_EQ(pool_.n_free(), 26);
  const auto large = Make(std::vector<TokenId>(150, 9));  // 39 pages
  ASSERT_TRUE(cache_.ReservePages(*large));
  EXPECT_EQ(cache_.stats().pages, 0);
  EXPECT_EQ(cache_.stats().evicted_pages, 14);
}

TEST_F(PrefixCacheTest, ThePrefixThatIsTakenOverIsNotEvictedForIt) {
  Serve(Prompt(60));
  std::vector<TokenId> prompt = Prompt(150);  // 39 pages, 14 of them cached
  const auto large = Make(prompt);
  const std::optional<PageGrant> grant = cache_.ReservePages(*large);
  ASSERT_TRUE(grant);
  EXPECT_EQ(grant->cached_len, 56);
  EXPECT_EQ(grant->pages.pages().size(), 39);
  EXPECT_EQ(cache_.stats().evicted_pages, 0);
}

TEST_F(PrefixCacheTest, WhatCannotBeHadTakesNothing) {
  const auto running = Make(std::vector<TokenId>(70, 5));  // 19 pages
  Prefill(*running);
  Serve(Prompt(20));
  const std::int32_t used = pool_.n_used();
  const auto large = Make(Prompt(100));  // 26 pages, 4 of them cached; 40 - 19 - 4 are free
  EXPECT_FALSE(cache_.ReservePages(*large));
  EXPECT_EQ(pool_.n_used(), used);
  EXPECT_EQ(cache_.stats().idle_pages, 4);
}

TEST_F(PrefixCacheTest, SwitchedOffItOnlyHandsOutPages) {
  PrefixCacheSettings settings = Settings();
  settings.max_pages = 0;
  PrefixCache off(settings, &pool_);
  const auto first = Make(Prompt(20));
  first->Start(std::move(off.ReservePages(*first)->pages));
  first->CommitPrefill(8, {});
  off.OnPrefill(*first);
  EXPECT_EQ(off.CachedLen(*Make(Prompt(20))), 0);
  EXPECT_EQ(off.stats().pages, 0);
  EXPECT_EQ(off.stats().queried_tokens, 0);
}

TEST_F(PrefixCacheTest, TheTailOfAnotherProfileIsNotShared) {
  PrefixCacheSettings settings = Settings();
  settings.rules.positions = PositionMode::kRectified;
  settings.rules.tail = 10;
  PrefixCache cache(settings, &pool_);
  Request prose;
  prose.selection.profile = AttentionProfile::kProse;
  const auto first = Make(Prompt(33), prose);
  first->Start(std::move(cache.ReservePages(*first)->pages));
  first->CommitPrefill(32, {});
  cache.OnPrefill(*first);
  EXPECT_EQ(cache.CachedLen(*Make(Prompt(33), prose)), 32);
  EXPECT_EQ(cache.CachedLen(*Make(Prompt(33))), 16);
  EXPECT_EQ(cache.CachedLen(*Make(Prompt(42))), 32);
}

}  // namespace
}  // namespace keyhole
