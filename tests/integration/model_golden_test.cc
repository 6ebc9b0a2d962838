// The default model against an independent reference program and llama.cpp: 20 prompts of 1 to
// 4,000 tokens, 64 greedy tokens each. Prints a table and writes model_golden_report.json to the
// current folder.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/weight_source.h"
#include "tests/integration/golden_run.h"
#include "tests/support/model_runner.h"

namespace keyhole {
namespace {

struct Mode {
  std::string name;
  WeightMode weights;
  KvType kv;
};

// Of all steps of all prompts.
struct Comparison {
  std::vector<double> relative_errors;
  std::vector<double> kl;  // from the f32 mode, whose logits are those of the reference
  std::vector<double> kl_llama_cpp;
  std::vector<std::pair<std::size_t, std::size_t>> other_token;  // (prompt, step)
  std::size_t llama_cpp_agreements = 0;
  double seconds = 0;
};

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

class ModelGoldenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<Goldens> goldens = Goldens::Open();
    ASSERT_TRUE(goldens.ok()) << goldens.status();
    goldens_ = *std::move(goldens);
    ASSERT_EQ(goldens_.prompts.size(), 20);
    auto source = OpenModel(KEYHOLE_DEFAULT_MODEL, {});
    ASSERT_TRUE(source.ok()) << source.status() << ": deploy/setup.sh fetches the default model";
    source_ = *std::move(source);
  }

  // Keeps the logits of the first mode that runs, for the divergence of the others.
  Comparison Run(const Mode& mode) {
    RunnerOptions options;
    options.weights = mode.weights;
    options.kv = mode.kv;
    for (const GoldenPrompt& prompt : goldens_.prompts) {
      options.n_tokens += static_cast<std::int32_t>(prompt.ids.size() + prompt.greedy.size());
    }
    auto runner = ModelRunner::Create(source_, options);
    EXPECT_TRUE(runner.ok()) << runner.status();
    if (!runner.ok()) return {};
    const bool first = f32_logits_.empty();
    Comparison result;
    std::size_t step_number = 0;
    const auto start = std::chrono::steady_clock::now();
    const absl::Status status = RunGoldens(**runner, goldens_, [&](const GoldenStep& step) {
      if (first) f32_logits_.emplace_back(step.logits.begin(), step.logits.end());
      Compare(step, f32_logits_[step_number++], result);
    });
    EXPECT_TRUE(status.ok()) << status;
    result.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result;
  }

  void Report(const Mode& mode, const Comparison& result) {
    const auto n_steps = static_cast<double>(result.kl.size());
    const nlohmann::json row = {
        {"mode", mode.name},
        {"steps", result.kl.size()},
        {"top1_agreement_reference", 1 - static_cast<double>(result.other_token.size()) / n_steps},
        {"max_relative_error", Quantile(result.relative_errors, 1)},
        {"mean_kl", Mean(result.kl)},
        {"p99_kl", Quantile(result.kl, 0.99)},
        {"max_kl", Quantile(result.kl, 1)},
        {"top1_agreement_llama_cpp", static_cast<double>(result.llama_cpp_agreements) / n_steps},
        {"mean_kl_llama_cpp", Mean(result.kl_llama_cpp)},
        {"seconds", result.seconds}};
    std::printf("%s\n", row.dump().c_str());
    report_.push_back(row);
    std::ofstream("model_golden_report.json") << report_.dump(1) << '\n';
  }

  Goldens goldens_;
  std::shared_ptr<const WeightSource> source_;

 private:
  void Compare(const GoldenStep& step, std::span<const float> f32_logits, Comparison& result) {
    const GoldenPrompt& prompt = goldens_.prompts[step.prompt];
    const TokenId best = BestToken(step.logits);
    if (best != prompt.greedy[step.step]) result.other_token.emplace_back(step.prompt, step.step);
    const std::size_t n_top = prompt.llama_ids.size() / prompt.greedy.size();
    result.llama_cpp_agreements += best == prompt.llama_ids[step.step * n_top];
    result.relative_errors.push_back(RelativeError(goldens_, step));
    result.kl.push_back(KlDivergence(f32_logits, step.logits));
    result.kl_llama_cpp.push_back(KlFromLlamaCpp(goldens_, step));
  }

  std::vector<std::vector<float>> f32_logits_;
  nlohmann::json report_ = nlohmann::json::array();
};

TEST_F(ModelGoldenTest, F32EqualsTheReferenceAndFastModesStayNear) {
  const Mode exact = {"f32 weights, f32 KV", WeightMode::kF32, KvType::kF32};
  const Comparison f32 = Run(exact);
  Report(exact, f32);
  for (const auto& [prompt, step] : f32.other_token) {
    ADD_FAILURE() << "prompt " << prompt << ", step " << step << ": another token";
  }
  EXPECT_LE(Quantile(f32.relative_errors, 1), 1e-3);

  const Mode bf16 = {"bf16 weights, bf16 KV", WeightMode::kBF16, KvType::kBF16};
  const Mode automatic = {"auto weights, bf16 KV", WeightMode::kAuto, KvType::kBF16};
  const Mode int8 = {"auto weights, int8 KV", WeightMode::kAuto, KvType::kInt8};
  for (const Mode& mode : {bf16, automatic, int8}) {
    const Comparison fast = Run(mode);
    Report(mode, fast);
    EXPECT_LT(static_cast<double>(fast.other_token.size()), 0.05 * fast.kl.size()) << mode.name;
    EXPECT_LT(Mean(fast.kl), 0.01) << mode.name;
    EXPECT_LT(Mean(fast.kl_llama_cpp), 0.02) << mode.name;
  }
}

}  // namespace
}  // namespace keyhole
