#include "engine/attention/selective_attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "engine/selection/policy_registry.h"
#include "tests/unit/attention/attention_harness.h"

namespace keyhole {
namespace {

constexpr SelectionSizes kSizes = {.initial = 5, .local = 40, .selected = 7};

std::unique_ptr<SelectionPolicy> Full() { return MakeSelectionPolicy("full").value(); }

// Fails the sequence `bad_id`, remembers what it was asked.
class RecordingPolicy final : public SelectionPolicy {
 public:
  struct Log {
    std::vector<SelectionSizes> sizes;
    std::vector<RequestId> ended;
  };
  RecordingPolicy(Log* log, RequestId bad_id) : log_(log), bad_id_(bad_id) {}

  PolicyTraits traits() const override { return {"recording"}; }
  absl::StatusOr<Selection> Select(Device&, const SelectionContext& context) override {
    log_->sizes.push_back(context.sizes);
    if (context.id == bad_id_) return absl::InternalError("scores are not finite");
    Selection selection = Partition(context.past, context.sizes);
    if (!selection.middle.empty()) selection.selected = {selection.middle.begin};
    return selection;
  }
  void OnSequenceEnd(RequestId id) override { log_->ended.push_back(id); }

 private:
  Log* log_;
  RequestId bad_id_;
};

TEST(SelectiveAttentionTest, ChunksEqualOneShot) {
  for (const std::int32_t chunk : {1, 16, 48}) {
    AttentionHarness harness({3, 3, 64}, KvType::kF32, {}, Full());
    TestSequence whole = harness.MakeSequence(1, 160);
    harness.Step(whole, 150);
    TestSequence parts = harness.MakeSequence(1, 160);
    std::vector<float> out;
    while (parts.past < 150) {
      const std::vector<float>& rows = harness.Step(parts, std::min(chunk, 150 - parts.past));
      out.insert(out.end(), rows.begin(), rows.end());
    }
    ASSERT_EQ(out.size(), whole.out.size());
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], whole.out[i], 2e-5);
  }
}

// Three sequences of different lengths through the same steps, alone and together.
TEST(SelectiveAttentionTest, SequenceInABatchEqualsItAlone) {
  for (const char* policy : {"full", "sink_recent"}) {
    const auto make = [&](int n_threads) {
      return AttentionHarness({3, 3, 64},
                              KvType::kBF16,
                              {.sizes = kSizes},
                              MakeSelectionPolicy(policy).value(),
                              n_threads);
    };
    const std::vector<std::vector<std::int32_t>> steps = {
        {64, 64, 1, 1}, {300, 1, 1, 1}, {1, 1, 1, 9}};
    std::vector<std::vector<std::vector<float>>> alone(steps.size());
    for (std::size_t s = 0; s < steps.size(); ++s) {
      AttentionHarness harness = make(2);
      TestSequence sequence = harness.MakeSequence(s + 1, 400);
      for (const std::int32_t q_len : steps[s]) alone[s].push_back(harness.Step(sequence, q_len));
    }
    for (const int n_threads : {1, 2, 3}) {
      AttentionHarness harness = make(n_threads);
      std::vector<TestSequence> sequences;
      for (std::size_t s = 0; s < steps.size(); ++s) {
        sequences.push_back(harness.MakeSequence(s + 1, 400));
      }
      for (std::size_t step = 0; step < steps[0].size(); ++step) {
        std::vector<std::pair<TestSequence*, std::int32_t>> work;
        for (std::size_t s = 0; s < steps.size(); ++s) {
          work.emplace_back(&sequences[s], steps[s][step]);
        }
        harness.Step(work);
        for (std::size_t s = 0; s < steps.size(); ++s) {
          ASSERT_EQ(sequences[s].out, alone[s][step])
              << policy << ", sequence " << s << ", step " << step << ", threads " << n_threads;
        }
      }
    }
  }
}

TEST(SelectiveAttentionTest, FailedSelectionFailsThatSequenceAlone) {
  RecordingPolicy::Log log;
  AttentionHarness harness(
      {2, 2, 16}, KvType::kF32, {.sizes = kSizes}, std::make_unique<RecordingPolicy>(&log, 2));
  TestSequence good = harness.MakeSequence(1, 64);
  TestSequence bad = harness.MakeSequence(2, 64);
  TestSequence alone = harness.MakeSequence(1, 64);
  harness.Step(alone, 10);
  const StepResult result = harness.Step({{&bad, 4}, {&good, 10}});
  EXPECT_EQ(result.sequences[0].status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(result.sequences[1].status.ok());
  EXPECT_THAT(bad.out, testing::Each(0.0F));
  EXPECT_EQ(good.out, alone.out);
  const std::byte* row = harness.store().LayerRows(bad.pages[0], 0);
  EXPECT_TRUE(std::all_of(row, row + harness.store().layout().row_bytes(), [](std::byte b) {
    return b == std::byte{0};
  }));
}

TEST(SelectiveAttentionTest, BudgetOfARequestIsClamped) {
  RecordingPolicy::Log log;
  AttentionHarness harness({1, 1, 8},
                           KvType::kF32,
                           {.sizes = kSizes, .max_selected = 100},
                           std::make_unique<RecordingPolicy>(&log, 0));
  TestSequence sequence = harness.MakeSequence(1, 64);
  harness.Step(sequence, kSizes.local + 1);
  for (const std::int32_t wish : {50, 1000, -3}) {
    sequence.request.selection.selected_tokens = wish;
    harness.Step(sequence, 1);
  }
  std::vector<std::int32_t> budgets;
  for (const SelectionSizes& sizes : log.sizes) budgets.push_back(sizes.selected);
  EXPECT_THAT(budgets, testing::ElementsAre(kSizes.selected, 50, 100, 0));
}

TEST(SelectiveAttentionTest, CountsSelectedRowsAndTime) {
  RecordingPolicy::Log log;
  AttentionHarness harness(
      {1, 1, 8}, KvType::kF32, {.sizes = kSizes}, std::make_unique<RecordingPolicy>(&log, 0));
  TestSequence sequence = harness.MakeSequence(1, 128);
  EXPECT_EQ(harness.Step({{&sequence, 100}}).sequences[0].selected_rows, 0);
  const StepResult result = harness.Step({{&sequence, 1}});
  EXPECT_EQ(result.sequences[0].selected_rows, 1);
  EXPECT_GT(result.timings.attention_seconds, 0);
  EXPECT_GE(result.timings.attention_seconds, result.timings.selection_seconds);
}

TEST(SelectiveAttentionTest, FullAttentionCanBeForced) {
  RecordingPolicy::Log log;
  AttentionHarness forced(
      {2, 2, 16}, KvType::kF32, {.sizes = kSizes}, std::make_unique<RecordingPolicy>(&log, 0));
  AttentionHarness full({2, 2, 16}, KvType::kF32, {.sizes = kSizes}, Full());
  TestSequence a = forced.MakeSequence(1, 128);
  TestSequence b = full.MakeSequence(1, 128);
  a.request.selection.force_full_attention = true;
  for (const std::int32_t q_len : {90, 1}) {
    const StepResult result = forced.Step({{&a, q_len}});
    EXPECT_EQ(a.out, full.Step(b, q_len));
    EXPECT_EQ(result.sequences[0].selected_rows, q_len == 1 ? 45 : 0);
  }
  EXPECT_TRUE(log.sizes.empty());
}

TEST(SelectiveAttentionTest, EndReachesThePolicy) {
  RecordingPolicy::Log log;
  AttentionHarness harness({1, 1, 8}, KvType::kF32, {}, std::make_unique<RecordingPolicy>(&log, 0));
  harness.attention().EndSequence(5);
  EXPECT_THAT(log.ended, testing::ElementsAre(5));
}

TEST(SelectiveAttentionTest, ResultsThatAreNotParallelAreRefused) {
  AttentionHarness harness({1, 1, 8}, KvType::kF32, {}, Full());
  ModelInput input;
  input.sequences.resize(1);
  StepResult result;
  Device device(1);
  EXPECT_THROW(harness.attention().Run(device, 0, input, {}, result), std::logic_error);
}

}  // namespace
}  // namespace keyhole
