// The default model with selective attention over real text against the PyTorch reference.

#include <gtest/gtest.h>

#include <cstdio>

#include "engine/model/weight_source.h"
#include "tests/support/selective_golden.h"

namespace keyhole {
namespace {

TEST(SelectiveGoldenTest, RealTextEqualsTheReference) {
  const auto golden = GoldenFile::Open("selective.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status();
  auto opened = OpenModel(KEYHOLE_DEFAULT_MODEL, {});
  ASSERT_TRUE(opened.ok()) << opened.status() << ": deploy/setup.sh fetches the default model";
  const std::shared_ptr<const WeightSource> source = *std::move(opened);
  for (const char* name : {"smollm2_recall", "smollm2_prose"}) {
    const auto result = RunSelectiveCase(*golden, {name, "esa-exact"}, source);
    ASSERT_TRUE(result.ok()) << name << ": " << result.status();
    std::printf("%s: relative error %.1e, %d of %d selections and %d tokens differ\n",
                name,
                result->relative_error,
                result->other_selections,
                result->selections,
                result->other_tokens);
    EXPECT_LE(result->relative_error, 1e-3) << name;
    EXPECT_EQ(result->other_tokens, 0) << name;
    EXPECT_EQ(result->other_selections, 0) << name;
    EXPECT_GT(result->selections, 0) << name;
  }
}

}  // namespace
}  // namespace keyhole
