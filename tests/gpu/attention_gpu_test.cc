#include "tests/gpu/attention_harness.h"

#include <ostream>
#include <string>

namespace keyhole {
namespace {

class AttentionGpuTest : public DeviceAttentionTest {
 protected:
  // Prefills of different lengths beside decode, past the window and the budget.
  static std::vector<std::vector<std::int32_t>> Steps() {
    std::vector<std::vector<std::int32_t>> steps = {
        {32, 20, 0}, {32, 1, 32}, {32, 1, 32}, {32, 1, 0}, {12, 1, 32}, {1, 1, 32}, {1, 1, 18}};
    for (int i = 0; i < 8; ++i) steps.push_back({1, 1, 1});
    return steps;
  }

  void MakeSequences() {
    sequences_ = {MakeSequence(1, 160, 140), MakeSequence(2, 60, 20), MakeSequence(3, 170, 146)};
  }

  Work WorkOf(const std::vector<std::int32_t>& counts) {
    Work work;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] > 0) work.push_back({&sequences_[i], counts[i]});
    }
    return work;
  }

  // Outputs of all steps.
  std::vector<std::vector<float>> RunAll(bool captured) {
    MakeSequences();
    std::vector<std::vector<float>> outs;
    for (const auto& counts : Steps()) {
      const Work work = WorkOf(counts);
      StepResult result;
      outs.push_back(StepOnDevice(work, result, captured));
      Advance(work);
    }
    return outs;
  }

  // Steps on both sides.
  void CompareWithCpu(double tolerance) {
    MakeSequences();
    std::int64_t n_selected = 0;
    for (std::size_t step = 0; step < Steps().size(); ++step) {
      const Work work = WorkOf(Steps()[step]);
      StepResult expected_result;
      StepResult result;
      const std::vector<float> expected = StepOnCpu(work, expected_result);
      const std::vector<float> got = StepOnDevice(work, result);
      Advance(work);
      ASSERT_EQ(got.size(), expected.size());
      double largest = 0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double error = std::fabs(got[i] - expected[i]);
        ASSERT_FALSE(std::isnan(error)) << "step " << step << " value " << i;
        largest = std::max(largest, error);
      }
      ASSERT_LE(largest, tolerance) << "step " << step;
      for (std::size_t i = 0; i < work.size(); ++i) {
        EXPECT_EQ(result.sequences[i].selected_rows, expected_result.sequences[i].selected_rows);
        n_selected += result.sequences[i].selected_rows;
      }
    }
    EXPECT_GT(n_selected, 0);
  }

  std::vector<RunningSequence> sequences_;
};

TEST_F(AttentionGpuTest, StepsAreThoseOfTheCpu) {
  for (const PositionMode positions : {PositionMode::kNative, PositionMode::kRectified}) {
    for (const char* policy : {"esa", "esa-individual", "esa-paper"}) {
      SCOPED_TRACE(policy);
      Make({.positions = positions, .policy = policy});
      CompareWithCpu(1e-4);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(AttentionGpuTest, PoliciesWithoutScoresAreThoseOfTheCpu) {
  Make({.policy = "sink_recent"});
  MakeSequences();
  for (const auto& counts : Steps()) {
    const Work work = WorkOf(counts);
    StepResult expected_result;
    StepResult result;
    const std::vector<float> expected = StepOnCpu(work, expected_result);
    const std::vector<float> got = StepOnDevice(work, result);
    Advance(work);
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-4);
  }
}

TEST_F(AttentionGpuTest, FullAttentionIsThatOfTheCpu) {
  Make({.positions = PositionMode::kNative, .policy = "full"});
  CompareWithCpu(1e-4);
}

TEST_F(AttentionGpuTest, RowsInInt8AreThoseOfTheCpu) {
  for (const PositionMode positions : {PositionMode::kNative, PositionMode::kRectified}) {
    Make({.type = KvType::kInt8, .positions = positions});
    CompareWithCpu(1e-1);  // the CPU rounds queries to bf16 or int8 where they are many
  }
}

TEST_F(AttentionGpuTest, FarKeysCarryTheAttentionFactor) {
  Make({.attention_factor = 1.2F});
  CompareWithCpu(1e-4);
}

TEST_F(AttentionGpuTest, ResidenciesAgreeBitForBit) {
  // Three heads in int8, as the default model has them, are rows of no multiple of 16 bytes.
  for (const KvType type : {KvType::kBF16, KvType::kInt8}) {
    const DeviceAttentionCase on_device = {
        .type = type,
        .n_kv_heads = type == KvType::kInt8 ? 3 : 2,
        .head_dim = 64,
        .positions = type == KvType::kInt8 ? PositionMode::kRectified : PositionMode::kNative};
    Make(on_device);
    const std::vector<std::vector<float>> expected = RunAll(false);
    for (const Residency residency : {Residency::kHost, Residency::kAuto}) {
      DeviceAttentionCase c = on_device;
      c.residency = residency;
      c.spare_pages = residency == Residency::kAuto ? 2 : 0;
      Make(c);
      ASSERT_TRUE(kv().plan().spills);
      const std::vector<std::vector<float>> got = RunAll(false);
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(got[i] == expected[i]) << ResidencyName(residency) << " step " << i;
      }
      EXPECT_GT(kv().residency().n_spilled(), 0) << ResidencyName(residency);
    }
  }
}

TEST_F(AttentionGpuTest, CapturedStepsHaveTheBitsOfOthers) {
  for (const Residency residency : {Residency::kDevice, Residency::kHost}) {
    const DeviceAttentionCase c = {.type = KvType::kBF16, .head_dim = 64, .residency = residency};
    Make(c);
    const std::vector<std::vector<float>> expected = RunAll(false);
    Make(c);
    const std::int64_t before = n_captures();
    const std::vector<std::vector<float>> got = RunAll(true);
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_TRUE(got[i] == expected[i]) << ResidencyName(residency) << " step " << i;
    }
    EXPECT_EQ(n_captures() - before, 1) << "of eight steps of one token each";
  }
}

TEST_F(AttentionGpuTest, ASequenceThatReadsTooMuchFailsAloneAndRunsOnceItFits) {
  Make({.residency = Residency::kHost, .fetched_rows = 30});
  MakeSequences();
  StepResult result;
  for (RunningSequence* sequence : {&sequences_[0], &sequences_[2]}) {
    for (int i = 0; i < 3; ++i) {
      const Work chunk = {{sequence, 32}};
      StepOnDevice(chunk, result);
      Advance(chunk);
    }
  }
  // Each of them may choose 24 rows of the middle; there is room for 30.
  const Work both = {{&sequences_[0], 1}, {&sequences_[2], 1}};
  result = {};
  StepOnDevice(both, result);
  Advance({both[0]});
  EXPECT_TRUE(result.sequences[0].status.ok());
  EXPECT_EQ(result.sequences[1].status.code(), absl::StatusCode::kResourceExhausted);
  result = {};
  const Work alone = {both[1]};
  StepOnDevice(alone, result);
  EXPECT_TRUE(result.sequences[0].status.ok());
}

TEST_F(AttentionGpuTest, ASequenceThatFailedBeforeGetsZeros) {
  Make({});
  MakeSequences();
  const Work work = {{&sequences_[0], 3}, {&sequences_[1], 2}};
  StepResult result;
  result.sequences.resize(2);
  result.sequences[0].status = absl::InternalError("no");
  const std::vector<float> out = StepOnDevice(work, result);
  const std::size_t n = std::size_t{3} * q_size();
  EXPECT_TRUE(std::all_of(out.begin(), out.begin() + n, [](float x) { return x == 0; }));
  EXPECT_FALSE(std::any_of(out.begin() + n, out.begin() + n + 8, [](float x) { return x == 0; }));
}

}  // namespace
}  // namespace keyhole
