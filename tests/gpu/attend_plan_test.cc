#include "engine/ops/cuda/attend_plan.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace keyhole::cuda {
namespace {

const float kQueries = 0;
float out = 0;
std::byte memory[1];

KvPages StoreOf(std::int32_t head_dim, KvType type) {
  return {memory,
          {.n_layers = 1, .n_kv_heads = 2, .head_dim = head_dim, .page_size = 16, .type = type}};
}

struct Case {
  Case(std::int32_t q_len, std::int32_t n_rows, KvType type = KvType::kBF16) {
    parts[0] = {.queries = &kQueries, .range = {0, n_rows / 2}};
    parts[1] = {.queries = &kQueries, .range = {n_rows / 2, n_rows}};
    params = {.store = StoreOf(64, type),
              .pages = {nullptr, PagesForTokens(n_rows, 16)},
              .q_len = q_len,
              .parts = parts,
              .out = &out};
  }
  AttendPartParams parts[2];
  AttendParams params;
};

constexpr AttendSettings kSettings = {.n_heads = 8, .softmax_scale = 1};

TEST(AttendPlanTest, OneQueryAndF32RowsGoWithoutTiles) {
  const Case decode(1, 2000);
  const Case chunk(30, 100);
  const Case f32(30, 100, KvType::kF32);
  EXPECT_FALSE(AttendsByTiles(decode.params));
  EXPECT_TRUE(AttendsByTiles(chunk.params));
  EXPECT_FALSE(AttendsByTiles(f32.params));
}

TEST(AttendPlanTest, SequencesAreSortedByKernelAndPartialsDisjoint) {
  const Case a(30, 100);
  const Case b(1, 2000);
  const Case c(2, 900);
  const Case d(1, 10);
  const AttendParams batch[] = {a.params, b.params, c.params, d.params};
  AttendPlan plan;
  PlanAttend(kSettings, batch, plan);
  ASSERT_EQ(plan.sequences.size(), 4U);
  EXPECT_EQ(plan.few.n_sequences, 2);
  EXPECT_EQ(plan.many.first, 2);
  EXPECT_EQ(plan.many.n_sequences, 2);
  EXPECT_EQ(plan.many.max_q_len, 30);
  EXPECT_EQ(plan.sequences[0].n_splits, plan.few.max_splits);  // the long one
  EXPECT_EQ(plan.sequences[1].n_splits, 1);
  EXPECT_EQ(plan.sequences[0].parts[1].offset, 1000);
  std::int64_t next = 0;
  for (const AttendSequence& sequence : plan.sequences) {
    if (sequence.n_splits == 1) continue;
    EXPECT_EQ(sequence.partial, next);
    next += std::int64_t{sequence.n_splits} * sequence.q_len * kSettings.n_heads;
  }
  EXPECT_EQ(plan.n_partials, next);
}

TEST(AttendPlanTest, ASequencesSplitsDoNotDependOnTheBatch) {
  const Case a(1, 3000);
  const Case b(1, 40);
  const AttendParams batch[] = {b.params, a.params, b.params};
  AttendPlan alone;
  AttendPlan together;
  PlanAttend(kSettings, {&a.params, 1}, alone);
  PlanAttend(kSettings, batch, together);
  EXPECT_EQ(alone.sequences[0].split_rows, together.sequences[1].split_rows);
  EXPECT_EQ(alone.sequences[0].n_splits, together.sequences[1].n_splits);
}

TEST(AttendPlanTest, PartialResultsAreAtMostWhatIsCountedForThem) {
  const Case longest(1, 1 << 20);
  const std::vector<AttendParams> batch(3, longest.params);
  AttendPlan plan;
  PlanAttend(kSettings, batch, plan);
  const auto bytes = static_cast<std::size_t>(plan.n_partials) * 64 * sizeof(float);
  EXPECT_LE(bytes, AttendScratchBytes(3, 4, 64));
  EXPECT_GE(3 * bytes, AttendScratchBytes(3, 4, 64)) << "rounded up to a power of two";
}

TEST(AttendPlanTest, BrokenCallsAreRefused) {
  AttendPlan plan;
  const auto refuses = [&](const AttendSettings& settings, const Case& c) {
    EXPECT_THROW(PlanAttend(settings, {&c.params, 1}, plan), std::logic_error);
  };
  refuses({.n_heads = 3, .softmax_scale = 1}, Case(1, 10));
  Case beyond(1, 32);
  beyond.parts[1].range.end = 33;
  refuses(kSettings, beyond);
  Case causal(1, 32);
  const std::int32_t row = 0;
  causal.parts[0].rows = &row;
  causal.parts[0].n_rows = 1;
  causal.parts[0].causal_from = 3;
  refuses(kSettings, causal);
  Case odd(1, 32);
  odd.params.store = StoreOf(68, KvType::kBF16);
  refuses(kSettings, odd);
  Case large(1, 32);
  large.params.store = StoreOf(136, KvType::kBF16);
  refuses(kSettings, large);
  Case nowhere(1, 32);
  nowhere.params.store.base = nullptr;
  refuses(kSettings, nowhere);
}

}  // namespace
}  // namespace keyhole::cuda
