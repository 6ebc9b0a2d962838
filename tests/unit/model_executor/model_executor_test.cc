#include "engine/runtime/model_executor.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"

namespace keyhole {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kVocab = 8;
using Logits = std::vector<std::vector<float>>;

// Gives the logits it was told to.
class FakeModel final : public Model {
 public:
  std::size_t weight_bytes() const override { return 0; }
  using Behaviour = absl::AnyInvocable<absl::StatusOr<Logits>(const ModelInput&, StepResult&)>;

  explicit FakeModel(Behaviour behaviour) : behaviour_(std::move(behaviour)) {
    config_.vocab_size = kVocab;
  }

  const ModelConfig& config() const override { return config_; }

  absl::StatusOr<at::Tensor> Forward(const ModelInput& input, StepResult& result) override {
    absl::StatusOr<Logits> logits = behaviour_(input, result);
    if (!logits.ok()) return logits.status();
    at::Tensor tensor = at::zeros({static_cast<std::int64_t>(logits->size()), kVocab}, at::kFloat);
    float* to = tensor.mutable_data_ptr<float>();
    for (const std::vector<float>& row : *logits) to = std::ranges::copy(row, to).out;
    return tensor;
  }

 private:
  ModelConfig config_;
  Behaviour behaviour_;
};

// One-hot logits that make `token` all but certain.
std::vector<float> Certain(TokenId token) {
  std::vector<float> row(kVocab, 0.0F);
  row[token] = 50;
  return row;
}

class ModelExecutorTest : public ::testing::Test {
 protected:
  ModelExecutor Executor(FakeModel::Behaviour behaviour) {
    return ModelExecutor(std::make_unique<FakeModel>(std::move(behaviour)), &device_, {7});
  }

  SequenceSlice Slice(RequestId id, std::span<const TokenId> tokens) const {
    SequenceSlice slice;
    slice.id = id;
    slice.q_len = 1;
    slice.tokens = tokens;
    slice.prompt_len = static_cast<std::int32_t>(tokens.size());
    slice.sample = true;
    slice.request = &request_;
    return slice;
  }

  Device device_{2};
  Request request_;
  const std::vector<TokenId> tokens_ = {1, 2, 3, 4, 5};
};

TEST_F(ModelExecutorTest, SamplesForEachSequenceThatAsks) {
  ModelExecutor executor = Executor([](const ModelInput&, StepResult&) {
    return Logits{Certain(3), Certain(6)};
  });
  ModelInput input;
  input.sequences = {Slice(10, tokens_), Slice(11, tokens_), Slice(12, tokens_)};
  input.sequences[1].sample = false;
  const absl::StatusOr<StepResult> result = executor.Run(input);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->sequences.size(), 3);
  EXPECT_EQ(result->sequences[0].id, 10);
  EXPECT_EQ(result->sequences[0].token.chosen.token, 3);
  EXPECT_FALSE(result->sequences[1].sampled);
  EXPECT_EQ(result->sequences[2].id, 12);
  EXPECT_EQ(result->sequences[2].token.chosen.token, 6);
  EXPECT_GE(result->timings.total_seconds, result->timings.sampling_seconds);
}

// Rows 1 and 2 of a slice that starts at position 1 have positions 2 and 3: they score tokens 3
// and 4.
TEST_F(ModelExecutorTest, ScoresThePromptTokenAfterEachRow) {
  request_.output.top_logprob_count = 2;
  ModelExecutor executor = Executor([](const ModelInput&, StepResult&) {
    return Logits{Certain(4), Certain(4), Certain(0)};
  });
  ModelInput input;
  input.sequences = {Slice(10, tokens_)};
  input.sequences[0].kv_len = 1;
  input.sequences[0].q_len = 3;
  input.sequences[0].prompt_logprob_first = 1;
  input.sequences[0].prompt_logprob_count = 2;
  const absl::StatusOr<StepResult> result = executor.Run(input);
  ASSERT_TRUE(result.ok());
  const SequenceResult& sequence = result->sequences[0];
  ASSERT_EQ(sequence.prompt_logprobs.size(), 2);
  EXPECT_EQ(sequence.prompt_logprobs[0].chosen.token, 4);
  EXPECT_NEAR(sequence.prompt_logprobs[0].chosen.logprob, 0, 1e-6);
  EXPECT_EQ(sequence.prompt_logprobs[1].chosen.token, 5);
  EXPECT_NEAR(sequence.prompt_logprobs[1].chosen.logprob, -50, 1e-4);
  EXPECT_EQ(sequence.prompt_logprobs[1].top.size(), 2);
  EXPECT_EQ(sequence.token.chosen.token, 0);
  EXPECT_TRUE(sequence.token.top.empty());  // not asked for on output tokens
}

TEST_F(ModelExecutorTest, NonFiniteLogitsFailTheirSequenceAlone) {
  std::vector<float> bad = Certain(1);
  bad[5] = std::nanf("");
  ModelExecutor executor = Executor([&](const ModelInput&, StepResult&) {
    return Logits{Certain(2), bad, Certain(3)};
  });
  ModelInput input;
  input.sequences = {Slice(10, tokens_), Slice(11, tokens_), Slice(12, tokens_)};
  const absl::StatusOr<StepResult> result = executor.Run(input);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->sequences[0].status.ok());
  EXPECT_EQ(result->sequences[1].status.code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(result->sequences[1].sampled);
  EXPECT_EQ(result->sequences[2].token.chosen.token, 3);
}

TEST_F(ModelExecutorTest, ASequenceThatFailedInTheModelIsNotSampled) {
  ModelExecutor executor = Executor([](const ModelInput&, StepResult& step) {
    step.sequences[0].status = absl::InternalError("selection");
    return Logits{Certain(2), Certain(3)};
  });
  ModelInput input;
  input.sequences = {Slice(10, tokens_), Slice(11, tokens_)};
  const absl::StatusOr<StepResult> result = executor.Run(input);
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->sequences[0].sampled);
  EXPECT_EQ(result->sequences[0].status.message(), "selection");
  EXPECT_TRUE(result->sequences[1].sampled);
}

TEST_F(ModelExecutorTest, EndAndStopTokensAreMaskedWhileForbidden) {
  std::vector<float> row = {1, 0, 0, 0, 4, 0, 5, 6};
  request_.stopping.stop_token_ids = {6};
  ModelExecutor executor = Executor([&](const ModelInput&, StepResult&) {
    return Logits{row, row};
  });
  ModelInput input;
  input.sequences = {Slice(10, tokens_), Slice(11, tokens_)};
  input.sequences[0].forbid_end = true;
  const absl::StatusOr<StepResult> result = executor.Run(input);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->sequences[0].token.chosen.token, 4);
  EXPECT_EQ(result->sequences[1].token.chosen.token, 7);
}

TEST_F(ModelExecutorTest, AnExceptionIsInternal) {
  ModelExecutor executor = Executor([](const ModelInput&, StepResult&) -> absl::StatusOr<Logits> {
    throw std::runtime_error("no memory");
  });
  ModelInput input;
  input.sequences = {Slice(10, tokens_)};
  const absl::StatusOr<StepResult> result = executor.Run(input);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("no memory"));
}

TEST_F(ModelExecutorTest, AStepWithoutSequencesOnlyEndsThem) {
  std::vector<RequestId> ended;
  ModelExecutor executor = Executor([&](const ModelInput& input, StepResult&) {
    ended = input.ended;
    return Logits{};
  });
  ModelInput input;
  input.ended = {4, 9};
  const absl::StatusOr<StepResult> result = executor.Run(input);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->sequences.empty());
  EXPECT_THAT(ended, ElementsAre(4, 9));
}

TEST_F(ModelExecutorTest, LibTorchHasNoThreadsOfItsOwn) {
  const ModelExecutor executor = Executor([](const ModelInput&, StepResult&) { return Logits{}; });
  EXPECT_EQ(at::get_num_threads(), 1);
}

}  // namespace
}  // namespace keyhole
