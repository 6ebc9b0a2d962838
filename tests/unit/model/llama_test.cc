#include "engine/model/llama.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model/weight_source.h"
#include "tests/support/golden_file.h"
#include "tests/support/model_runner.h"

namespace keyhole {
namespace {

constexpr std::int32_t kTokens = 40;

class LlamaTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    absl::StatusOr<GoldenFile> golden = GoldenFile::Open("tiny/logits.safetensors");
    ASSERT_TRUE(golden.ok()) << golden.status();
    golden_ = *std::move(golden);
    const auto ids = golden_.Ints(GetParam() + ".ids");
    ids_.assign(ids.begin(), ids.end());
    expected_ = golden_.Floats(GetParam() + ".logits");
    auto source = OpenModel(GoldenPath("tiny/" + GetParam()), {});
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
  }

  std::unique_ptr<ModelRunner> Runner(RunnerOptions options = {}) {
    options.n_tokens = 3 * kTokens;
    options.page_size = 16;
    options.n_threads = 2;
    auto runner = ModelRunner::Create(source_, options);
    EXPECT_TRUE(runner.ok()) << runner.status();
    return runner.ok() ? *std::move(runner) : nullptr;
  }

  // Logits of all tokens, appended in slices of `chunk`.
  std::vector<float> Run(ModelRunner& runner, std::size_t chunk) {
    const std::int32_t sequence = runner.AddSequence(kTokens);
    std::vector<float> logits;
    for (std::size_t i = 0; i < ids_.size(); i += chunk) {
      const std::size_t count = std::min(chunk, ids_.size() - i);
      const RunnerSlice slice = {sequence, std::span(ids_).subspan(i, count), true};
      const auto step = runner.Step({&slice, 1});
      EXPECT_TRUE(step.ok()) << step.status();
      if (!step.ok()) return {};
      logits.insert(logits.end(), step->begin(), step->end());
    }
    return logits;
  }

  // max |difference| / max |expected|
  double RelativeError(std::span<const float> logits) const {
    EXPECT_EQ(logits.size(), expected_.size());
    if (logits.size() != expected_.size()) return 1;
    double difference = 0;
    double largest = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      difference = std::max<double>(difference, std::abs(logits[i] - expected_[i]));
      largest = std::max<double>(largest, std::abs(expected_[i]));
    }
    return difference / largest;
  }

  // Root mean square of the difference, relative to that of the expected logits.
  double RmsError(std::span<const float> logits) const {
    EXPECT_EQ(logits.size(), expected_.size());
    if (logits.size() != expected_.size()) return 1;
    double difference = 0;
    double norm = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      difference += std::pow(logits[i] - expected_[i], 2);
      norm += std::pow(expected_[i], 2);
    }
    return std::sqrt(difference / norm);
  }

  GoldenFile golden_;
  std::vector<TokenId> ids_;
  std::span<const float> expected_;
  std::shared_ptr<const WeightSource> source_;
};

TEST_P(LlamaTest, LogitsEqualTheReferenceInOneChunkAndTokenByToken) {
  const std::unique_ptr<ModelRunner> runner = Runner();
  ASSERT_NE(runner, nullptr);
  EXPECT_LT(RelativeError(Run(*runner, ids_.size())), 1e-4);
  EXPECT_LT(RelativeError(Run(*runner, 1)), 1e-4);
}

TEST_P(LlamaTest, EveryInstructionSetEqualsTheReference) {
  for (int level = 0; level <= static_cast<int>(DetectCpuLevel()); ++level) {
    RunnerOptions options;
    options.cpu_level = static_cast<CpuLevel>(level);
    const std::unique_ptr<ModelRunner> runner = Runner(options);
    ASSERT_NE(runner, nullptr);
    EXPECT_LT(RelativeError(Run(*runner, 7)), 1e-4) << CpuLevelName(*options.cpu_level);
  }
}

TEST_P(LlamaTest, FastFormatsStayNearTheReference) {
  for (const WeightMode weights : {WeightMode::kBF16, WeightMode::kInt8, WeightMode::kAuto}) {
    for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
      RunnerOptions options;
      options.weights = weights;
      options.kv = kv;
      const std::unique_ptr<ModelRunner> runner = Runner(options);
      ASSERT_NE(runner, nullptr);
      // Keys and values as bytes: of int8 rows, and of all that AVX2 multiplies in a chunk.
      const bool bytes = kv == KvType::kInt8 || DetectCpuLevel() == CpuLevel::kAvx2;
      const double limit = weights == WeightMode::kInt8 ? 0.06 : bytes ? 0.03 : 0.02;
      EXPECT_LT(RmsError(Run(*runner, ids_.size())), limit)
          << static_cast<int>(weights) << ", " << KvTypeName(kv);
    }
  }
}

// Rows of a sequence have the same bits alone and beside others.
TEST_P(LlamaTest, BatchEqualsEachSequenceAlone) {
  for (const WeightMode weights : {WeightMode::kF32, WeightMode::kBF16, WeightMode::kInt8}) {
    RunnerOptions options;
    options.weights = weights;
    options.kv = KvType::kBF16;
    const std::unique_ptr<ModelRunner> alone = Runner(options);
    const std::unique_ptr<ModelRunner> batch = Runner(options);
    ASSERT_NE(alone, nullptr);
    ASSERT_NE(batch, nullptr);
    const std::size_t vocab = alone->vocab_size();
    const std::span<const TokenId> ids = ids_;
    const std::int32_t a = alone->AddSequence(kTokens);
    const auto alone_prefill = alone->Prefill(a, ids.first(20));
    ASSERT_TRUE(alone_prefill.ok());
    const std::vector<float> first(alone_prefill->begin(), alone_prefill->end());
    const auto alone_decode = alone->Prefill(a, ids.subspan(20, 1));
    ASSERT_TRUE(alone_decode.ok());
    const std::vector<float> second(alone_decode->begin(), alone_decode->end());

    const std::int32_t other = batch->AddSequence(kTokens);
    const std::int32_t same = batch->AddSequence(kTokens);
    const std::vector<RunnerSlice> mixed = {{other, ids.subspan(3, 9)}, {same, ids.first(20)}};
    const auto step = batch->Step(mixed);
    ASSERT_TRUE(step.ok());
    EXPECT_TRUE(std::ranges::equal(step->subspan(vocab, vocab), first));
    const std::vector<RunnerSlice> decode = {{other, ids.first(1)}, {same, ids.subspan(20, 1)}};
    const auto next = batch->Step(decode);
    ASSERT_TRUE(next.ok());
    EXPECT_TRUE(std::ranges::equal(next->subspan(vocab, vocab), second));
  }
}

INSTANTIATE_TEST_SUITE_P(Variants,
                         LlamaTest,
                         ::testing::Values("llama",
                                           "llama_tied_llama3",
                                           "llama_linear_mha",
                                           "mistral",
                                           "qwen2",
                                           "qwen3"),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace keyhole
