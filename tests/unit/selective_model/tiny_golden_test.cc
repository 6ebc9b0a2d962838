// Tiny models with selective attention against the PyTorch reference.

#include <gtest/gtest.h>

#include <string>

#include "engine/model/weight_source.h"
#include "tests/support/selective_golden.h"

namespace keyhole {
namespace {

struct TinyCase {
  SelectiveCase golden;
  std::string model;
  bool scores = true;  // some selections are by score
};

class TinyGoldenTest : public ::testing::TestWithParam<TinyCase> {};

TEST_P(TinyGoldenTest, LogitsTokensAndRowsEqualTheReference) {
  const auto golden = GoldenFile::Open("selective.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status();
  auto source = OpenModel(GoldenPath("tiny/" + GetParam().model), {});
  ASSERT_TRUE(source.ok()) << source.status();
  const auto result = RunSelectiveCase(*golden, GetParam().golden, *std::move(source));
  ASSERT_TRUE(result.ok()) << result.status();
  RecordProperty("relative_error", std::to_string(result->relative_error));
  EXPECT_LE(result->relative_error, 1e-4);
  EXPECT_EQ(result->other_tokens, 0);
  EXPECT_EQ(result->other_selections, 0);
  EXPECT_EQ(result->selections > 0, GetParam().scores);
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    TinyGoldenTest,
    ::testing::Values(TinyCase{{"llama_recall", "esa-exact"}, "llama"},
                      TinyCase{{"llama_prose", "esa-exact"}, "llama"},
                      TinyCase{{"llama_sink_recent", "sink_recent"}, "llama", false},
                      TinyCase{{"llama_full", "full"}, "llama", false},
                      TinyCase{{"mistral_paper", "esa-exact"}, "mistral"},
                      TinyCase{{"qwen2_recall", "esa-exact"}, "qwen2"},
                      TinyCase{{"qwen3_recall", "esa-exact"}, "qwen3"},
                      TinyCase{{"qwen2_native", "esa-exact", PositionMode::kNative}, "qwen2"},
                      TinyCase{{"llama_budget", "esa-exact"}, "llama"}),
    [](const auto& c) { return c.param.golden.name; });

}  // namespace
}  // namespace keyhole
