// Native positions against the formulas.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/selection/policy_registry.h"
#include "tests/unit/attention/attention_reference.h"
#include "tests/unit/attention/every_third_policy.h"

namespace keyhole {
namespace {

constexpr SelectionSizes kSizes = {.initial = 5, .local = 20, .selected = 7};
constexpr AttentionShape kShapes[] = {{3, 3, 16}, {2, 1, 8}, {1, 4, 24}, {1, 8, 64}};

bool IsSelected(std::string_view policy, std::int32_t row, const RowRange& middle) {
  if (policy == "full") return true;
  return policy == "every_third" && EveryThirdPolicy::Chooses(row, middle);
}

std::unique_ptr<SelectionPolicy> MakePolicy(std::string_view name) {
  if (name == "every_third") return std::make_unique<EveryThirdPolicy>();
  return MakeSelectionPolicy(name).value();
}

// Rows that query i of a chunk behind `past` tokens sees, at their true positions.
std::vector<SeenRow> RowsOfQuery(std::string_view policy, std::int32_t past, std::int32_t i) {
  const Selection parts = Partition(past, kSizes);
  std::vector<SeenRow> rows;
  for (std::int32_t row = 0; row <= past + i; ++row) {
    const bool in_middle = row >= parts.middle.begin && row < parts.middle.end;
    if (in_middle && !IsSelected(policy, row, parts.middle)) continue;
    rows.push_back({row, static_cast<double>(row), static_cast<double>(past + i), 0});
  }
  return rows;
}

class NativePositionsTest : public testing::TestWithParam<const char*> {};

TEST_P(NativePositionsTest, ChunksAndDecodeEqualTheFormulas) {
  for (const KvType type : {KvType::kF32, KvType::kBF16}) {
    for (const AttentionShape& shape : kShapes) {
      AttentionHarness harness(shape, type, {.sizes = kSizes}, MakePolicy(GetParam()));
      TestSequence sequence = harness.MakeSequence(1, 200);
      // Ends of chunks at 1, page - 1, page, page + 1, the first full window, and far behind it.
      for (const std::int32_t q_len : {1, 14, 1, 1, 8, 1, 40, 1, 33, 1}) {
        const std::int32_t past = sequence.past;
        harness.Step(sequence, q_len);
        const auto rows_of = [&](std::int32_t i) { return RowsOfQuery(GetParam(), past, i); };
        EXPECT_LT(LargestStepError(shape, sequence, rows_of, type),
                  type == KvType::kF32 ? 2e-5 : Bf16StepBound(4e-3, 1e-1))
            << q_len << " after " << past << ", head_dim " << shape.head_dim;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Policies,
                         NativePositionsTest,
                         testing::Values("full", "sink_recent", "every_third"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace keyhole
