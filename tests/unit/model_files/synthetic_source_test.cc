#include "engine/model/synthetic_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

namespace keyhole {
namespace {

using ::testing::HasSubstr;

std::vector<float> ReadTensor(const WeightSource& source, const std::string& name) {
  const WeightView view = *source.Get(name);
  std::vector<float> values(static_cast<std::size_t>(view.n_rows * view.n_cols));
  for (std::int64_t row = 0; row < view.n_rows; ++row) {
    DequantizeRow(view, row, std::span(values).subspan(row * view.n_cols, view.n_cols));
  }
  return values;
}

TEST(SyntheticSourceTest, SameSpecSameBytes) {
  const auto first = OpenModel("synthetic:tiny,seed=7", {});
  const auto second = OpenModel("synthetic:tiny,seed=7", {});
  const auto other = OpenModel("synthetic:tiny,seed=8", {});
  ASSERT_TRUE(first.ok() && second.ok() && other.ok());
  EXPECT_EQ((*first)->content_hash(), (*second)->content_hash());
  EXPECT_NE((*first)->content_hash(), (*other)->content_hash());
  EXPECT_EQ(ReadTensor(**first, "layers.1.q"), ReadTensor(**second, "layers.1.q"));
  EXPECT_NE(ReadTensor(**first, "layers.1.q"), ReadTensor(**other, "layers.1.q"));
  EXPECT_NE(ReadTensor(**first, "layers.1.q"), ReadTensor(**first, "layers.0.q"));
}

TEST(SyntheticSourceTest, MatricesHaveTheVarianceThatKeepsActivations) {
  const auto source = OpenModel("synthetic:tiny-qwen2", {});
  ASSERT_TRUE(source.ok()) << source.status();
  const std::vector<float> values = ReadTensor(**source, "layers.0.down");
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  const double square = std::inner_product(values.begin(), values.end(), values.begin(), 0.0) / n;
  EXPECT_NEAR(mean, 0, 0.005);
  EXPECT_NEAR(square * 160, 1, 0.05);
  EXPECT_THAT(ReadTensor(**source, "layers.0.attn_norm"), testing::Each(1));
  EXPECT_TRUE((*source)->Has("layers.1.k_bias"));
}

TEST(SyntheticSourceTest, LayersCanBeSet) {
  const auto source = OpenModel("synthetic:llama-3.2-1b,layers=3,seed=1", {});
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->config().n_layers, 3);
  EXPECT_EQ((*source)->config().rope_scaling.kind, RopeScalingKind::kLlama3);
  EXPECT_TRUE((*source)->Has("layers.2.up"));
  EXPECT_FALSE((*source)->Has("layers.3.up"));
}

TEST(SyntheticSourceTest, EveryNamedShapeIsValid) {
  const absl::Status unknown = OpenModel("synthetic:none", {}).status();
  ASSERT_TRUE(absl::IsNotFound(unknown));
  std::string list(unknown.message());
  list = list.substr(list.find("there are ") + 10);
  int n_shapes = 0;
  while (!list.empty()) {
    const std::string name = list.substr(0, list.find(", "));
    list.erase(0, name.size() + 2);
    const auto source = OpenModel("synthetic:" + name, {});
    EXPECT_TRUE(source.ok()) << name << ": " << source.status();
    ++n_shapes;
  }
  EXPECT_GE(n_shapes, 10);
}

TEST(SyntheticSourceTest, RefusesOtherSettings) {
  for (const char* path : {"synthetic:tiny,",
                           "synthetic:tiny,seed=",
                           "synthetic:tiny,seed=-1",
                           "synthetic:tiny,seed=x",
                           "synthetic:tiny,layers=0",
                           "synthetic:tiny,layers=99999",
                           "synthetic:tiny,depth=3",
                           "synthetic:tiny,seed=1,,layers=2"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(OpenModel(path, {}).status())) << path;
  }
}

TEST(SyntheticSourceTest, ThreadsSeeTheSameTensor) {
  const auto source = OpenModel("synthetic:tiny", {});
  ASSERT_TRUE(source.ok());
  std::vector<const std::byte*> seen(4);
  std::vector<std::thread> threads;
  for (auto& address : seen) {
    threads.emplace_back([&] { address = (*source)->Get("layers.0.gate")->bytes.data(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(seen, testing::Each(seen.front()));
}

}  // namespace
}  // namespace keyhole
