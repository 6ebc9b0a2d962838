// Rectified positions against the formulas.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "engine/selection/policy_registry.h"
#include "tests/unit/attention/attention_reference.h"
#include "tests/unit/attention/every_third_policy.h"

namespace keyhole {
namespace {

constexpr SelectionSizes kSizes = {.initial = 5, .local = 20, .selected = 7};
constexpr std::int32_t kPromptLen = 90;
constexpr AttentionShape kShapes[] = {{3, 3, 16}, {2, 1, 8, 1.2}, {1, 8, 64}};

DistanceSettings TestDistances() {
  return {.recall = {.selected = 11, .initial = 30, .far_bias = 1.5F},
          .prose = {.selected = 17, .initial = 25, .far_bias = -0.5F},
          .paper = {.selected = 20, .initial = 20, .far_bias = 0},
          .default_profile = AttentionProfile::kRecall,
          .tail = 12,
          .chunk_size = 40};
}

AttentionSettings TestSettings() {
  return {.positions = PositionMode::kRectified, .sizes = kSizes, .distances = TestDistances()};
}

std::unique_ptr<SelectionPolicy> MakePolicy(std::string_view name) {
  if (name == "every_third") return std::make_unique<EveryThirdPolicy>();
  return MakeSelectionPolicy(name).value();
}

AttentionHarness MakeHarness(KvType type, int n_threads = 2) {
  return AttentionHarness(
      {3, 3, 16}, type, TestSettings(), std::make_unique<EveryThirdPolicy>(), n_threads);
}

// The specification, row by row: what query i of a chunk behind `past` tokens sees, and where.
class Specification {
 public:
  Specification(std::string_view policy, const DistanceSettings& distances, double attention_factor)
      : policy_(policy), distances_(distances), factor_(attention_factor) {}

  std::vector<SeenRow> Rows(AttentionProfile profile, std::int32_t past, std::int32_t i) const {
    const bool in_tail = past + i >= kPromptLen - distances_.tail;
    const Distances& d = in_tail ? distances_.Of(profile) : distances_.BeforeTail();
    const std::int32_t local_begin = std::max(0, past - kSizes.local);
    const std::int32_t initial_end = std::min(kSizes.initial, local_begin);
    std::vector<SeenRow> rows;
    for (std::int32_t row = 0; row <= past + i; ++row) {
      SeenRow seen = {.row = row, .scale = factor_ * factor_, .rounded = true};
      if (row < initial_end) {
        seen.query_position = d.initial;
      } else if (row < local_begin) {
        if (!Chosen(row, {initial_end, local_begin})) continue;
        seen.query_position = d.selected;
        seen.bias = d.far_bias;
      } else {
        seen.key_position = row;
        seen.query_position = past + i;
        seen.scale = factor_;
        seen.key_scale = factor_;
      }
      rows.push_back(seen);
    }
    return rows;
  }

 private:
  bool Chosen(std::int32_t row, const RowRange& middle) const {
    if (policy_ == "full") return true;
    return policy_ == "every_third" && EveryThirdPolicy::Chooses(row, middle);
  }

  std::string_view policy_;
  const DistanceSettings& distances_;
  double factor_;  // of YaRN
};

class RectifiedPositionsTest : public testing::TestWithParam<const char*> {};

TEST_P(RectifiedPositionsTest, ChunksAndDecodeEqualTheFormulas) {
  const AttentionSettings settings = TestSettings();
  for (const KvType type : {KvType::kF32, KvType::kBF16}) {
    for (const AttentionShape& shape : kShapes) {
      AttentionHarness harness(shape, type, settings, MakePolicy(GetParam()));
      const Specification specification(GetParam(), settings.distances, shape.attention_factor);
      TestSequence sequence = harness.MakeSequence(1, 200);
      sequence.prompt_len = kPromptLen;
      // Chunks that fill the window, pass it, and straddle the border of the tail; then decode.
      for (const std::int32_t q_len : {1, 19, 1, 9, 40, 20, 1, 1, 1, 33}) {
        const std::int32_t past = sequence.past;
        harness.Step(sequence, q_len);
        const auto rows_of = [&](std::int32_t i) {
          return specification.Rows(AttentionProfile::kRecall, past, i);
        };
        EXPECT_LT(LargestStepError(shape, sequence, rows_of, type),
                  type == KvType::kF32 ? 3e-5 : Bf16StepBound(1e-2, 1e-1))
            << q_len << " after " << past << ", head_dim " << shape.head_dim;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Policies,
                         RectifiedPositionsTest,
                         testing::Values("full", "sink_recent", "every_third"),
                         [](const auto& test) { return test.param; });

TEST(RectifiedProfileTest, RequestsNameTheirProfileForTheTailAndDecode) {
  for (const AttentionProfile server : {AttentionProfile::kRecall, AttentionProfile::kPaper}) {
    for (const AttentionProfile profile :
         {AttentionProfile::kRecall, AttentionProfile::kProse, AttentionProfile::kPaper}) {
      AttentionSettings settings = TestSettings();
      settings.distances.default_profile = server;
      AttentionHarness harness(
          {1, 2, 16}, KvType::kF32, settings, std::make_unique<EveryThirdPolicy>());
      const Specification specification("every_third", settings.distances, 1);
      TestSequence sequence = harness.MakeSequence(1, 200);
      sequence.prompt_len = kPromptLen;
      sequence.request.selection.profile = profile;
      for (const std::int32_t q_len : {40, 40, 10, 1}) {
        const std::int32_t past = sequence.past;
        harness.Step(sequence, q_len);
        const auto rows_of = [&](std::int32_t i) { return specification.Rows(profile, past, i); };
        EXPECT_LT(LargestStepError(harness.shape(), sequence, rows_of), 3e-5) << past;
      }
    }
  }
}

TEST(RectifiedSequencesTest, NearRowsEqualFullAttention) {
  AttentionSettings settings = TestSettings();
  settings.sizes.local = 60;
  AttentionHarness rectified({3, 3, 16}, KvType::kF32, settings, MakePolicy("sink_recent"));
  AttentionHarness native({3, 3, 16}, KvType::kF32, {}, MakePolicy("full"));
  TestSequence a = rectified.MakeSequence(1, 100);
  TestSequence b = native.MakeSequence(1, 100);
  for (const std::int32_t q_len : {40, 20, 1}) {
    const std::vector<float>& out = rectified.Step(a, q_len);
    const std::vector<float>& expected = native.Step(b, q_len);
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 1e-5);
  }
}

TEST(RectifiedSequencesTest, SequenceInABatchEqualsItAlone) {
  const std::vector<std::vector<std::int32_t>> steps = {{40, 40, 1, 1, 1}, {30, 1, 1, 1, 7}};
  std::vector<std::vector<std::vector<float>>> alone(2);
  for (std::size_t s = 0; s < 2; ++s) {
    AttentionHarness harness = MakeHarness(KvType::kInt8);
    TestSequence sequence = harness.MakeSequence(s + 1, 200);
    for (const std::int32_t q_len : steps[s]) alone[s].push_back(harness.Step(sequence, q_len));
  }
  for (const int n_threads : {1, 2, 3}) {
    AttentionHarness harness = MakeHarness(KvType::kInt8, n_threads);
    TestSequence a = harness.MakeSequence(1, 200);
    TestSequence b = harness.MakeSequence(2, 200);
    for (std::size_t step = 0; step < steps[0].size(); ++step) {
      harness.Step({{&a, steps[0][step]}, {&b, steps[1][step]}});
      ASSERT_EQ(a.out, alone[0][step]) << step;
      ASSERT_EQ(b.out, alone[1][step]) << step;
    }
  }
}

TEST(RectifiedSequencesTest, WindowIsFilledAgainFromThePages) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    AttentionHarness keeps = MakeHarness(type);
    AttentionHarness drops = MakeHarness(type);
    TestSequence kept = keeps.MakeSequence(1, 200);
    TestSequence dropped = drops.MakeSequence(1, 200);
    for (const std::int32_t q_len : {40, 40, 1, 40, 1}) {
      EXPECT_EQ(drops.Step(dropped, q_len), keeps.Step(kept, q_len));
      drops.attention().EndSequence(1);
    }
  }
}

TEST(RectifiedSequencesTest, StepThatDidNotCountMayBeRunAgain) {
  AttentionHarness harness = MakeHarness(KvType::kBF16);
  TestSequence sequence = harness.MakeSequence(1, 200);
  harness.Step(sequence, 40);
  const TestSequence before = sequence;
  harness.Step(sequence, 30);
  harness.Step(sequence, 1);
  const std::vector<float> expected = sequence.out;
  sequence = before;
  harness.Step(sequence, 30);
  harness.Step(sequence, 1);
  EXPECT_EQ(sequence.out, expected);
}

TEST(RectifiedSequencesTest, ChunkLargerThanTheChunkSizeIsRefused) {
  AttentionHarness harness = MakeHarness(KvType::kF32);
  TestSequence sequence = harness.MakeSequence(1, 200);
  EXPECT_THROW(harness.Step(sequence, 20 + 40 + 1), std::logic_error);
}

}  // namespace
}  // namespace keyhole
