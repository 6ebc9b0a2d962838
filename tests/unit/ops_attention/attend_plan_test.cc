#include "engine/ops/attend_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

namespace keyhole {
namespace {

constexpr TileLanes kTileLanes = {.usual = 192, .deep = 384};

class AttendPlanTest : public testing::Test {
 protected:
  std::unique_ptr<HostStore> store_ =
      HostStore::Create({.n_layers = 1, .n_kv_heads = 3, .head_dim = 40}, 4).value();
  std::vector<AttendPart> parts_;

  AttendParams Params(std::int32_t q_len) {
    return {.store = store_.get(), .q_len = q_len, .n_heads = 9, .parts = parts_};
  }
};

// How often each (query, KV head, part, row) is computed.
std::map<std::tuple<int, int, int, int>, int> Coverage(const AttendPlan& plan) {
  std::map<std::tuple<int, int, int, int>, int> seen;
  for (const AttendItem& item : plan.items) {
    for (int s = item.span_begin; s < item.span_end; ++s) {
      const AttendSpan& span = plan.spans[s];
      for (int q = item.q_begin; q < item.q_end; ++q) {
        for (int kv = item.kv_begin; kv < item.kv_end; ++kv) {
          for (int i = 0; i < span.count; ++i) ++seen[{q, kv, span.part, span.first + i}];
        }
      }
    }
  }
  return seen;
}

TEST_F(AttendPlanTest, EveryVisibleRowOnce) {
  const std::vector<std::int32_t> rows = {7, 9, 11};
  for (const std::int32_t q_len : {1, 2, 33, 70}) {
    parts_ = {
        {.range = {0, 5}}, {.rows = rows}, {.range = {20, 3000 + q_len}, .causal_from = 3000}};
    const AttendParams params = Params(q_len);
    AttendPlan plan;
    PlanAttend({&params, 1}, kTileLanes, plan);
    std::map<std::tuple<int, int, int, int>, int> seen = Coverage(plan);
    for (int q = 0; q < q_len; ++q) {
      for (int kv = 0; kv < 3; ++kv) {
        for (int row = 0; row < 5; ++row) EXPECT_EQ((seen[{q, kv, 0, row}]), 1);
        for (int row = 0; row < 3; ++row) EXPECT_EQ((seen[{q, kv, 1, row}]), 1);
        for (int row = 0; row <= 2980 + q; ++row) ASSERT_EQ((seen[{q, kv, 2, row}]), 1);
      }
    }
  }
}

TEST_F(AttendPlanTest, PartialResultsDoNotOverlapAndAreMergedOnce) {
  parts_ = {{.range = {0, 100}}, {.range = {100, 5000}, .causal_from = 4990}};
  const AttendParams params[] = {Params(10), Params(1)};
  AttendPlan plan;
  PlanAttend(params, kTileLanes, plan);
  std::set<std::int32_t> merged;
  for (const AttendMerge& merge : plan.merges) {
    EXPECT_GT(merge.item_end - merge.item_begin, 1);
    for (std::int32_t i = merge.item_begin; i < merge.item_end; ++i) {
      EXPECT_TRUE(merged.insert(i).second);
    }
  }
  std::int64_t next = 0;
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const AttendItem& item = plan.items[i];
    EXPECT_EQ(item.partial >= 0, merged.count(i) == 1);
    if (item.partial < 0) continue;
    EXPECT_EQ(item.partial, next);
    next += PartialFloats(PadTo(ItemLanes(item, 3), kLanePad), 48);
  }
  EXPECT_EQ(next, plan.partial_floats);
}

TEST_F(AttendPlanTest, CutsDependOnTheSequenceAlone) {
  parts_ = {{.range = {0, 5000}, .causal_from = 4999}};
  const AttendParams alone[] = {Params(1)};
  const AttendParams batch[] = {Params(64), Params(1)};
  AttendPlan a;
  AttendPlan b;
  PlanAttend(alone, kTileLanes, a);
  PlanAttend(batch, kTileLanes, b);
  std::vector<std::pair<int, int>> cuts_alone;
  std::vector<std::pair<int, int>> cuts_batch;
  for (const AttendItem& item : a.items) {
    cuts_alone.emplace_back(a.spans[item.span_begin].first, a.spans[item.span_begin].count);
  }
  for (const AttendItem& item : b.items) {
    if (item.sequence != 1) continue;
    cuts_batch.emplace_back(b.spans[item.span_begin].first, b.spans[item.span_begin].count);
  }
  EXPECT_EQ(cuts_alone, cuts_batch);
}

TEST_F(AttendPlanTest, TilesAreLargerWhereRowsAreMany) {
  const auto lanes_at = [this](std::int32_t depth, const TileLanes& tile_lanes) {
    parts_ = {{.range = {0, depth + 512}, .causal_from = depth}};
    const AttendParams params = Params(512);
    AttendPlan plan;
    PlanAttend({&params, 1}, tile_lanes, plan);
    EXPECT_EQ(plan.items.size(), 3U * 512 * 3 / plan.max_lanes);
    return plan.max_lanes;
  };
  EXPECT_EQ(lanes_at(0, kTileLanes), 192);
  EXPECT_EQ(lanes_at(1535, kTileLanes), 192);
  EXPECT_EQ(lanes_at(1536, kTileLanes), 384);
  EXPECT_EQ(lanes_at(100'000, {.usual = 192}), 192);
}

TEST_F(AttendPlanTest, MergeOfALongSequenceIsBounded) {
  parts_ = {{.range = {0, 1'000'000}, .causal_from = 999'999}};
  const AttendParams params[] = {Params(1)};
  AttendPlan plan;
  PlanAttend(params, kTileLanes, plan);
  EXPECT_LE(plan.items.size(), 64U);
  EXPECT_GE(plan.items.size(), 60U);
}

}  // namespace
}  // namespace keyhole
