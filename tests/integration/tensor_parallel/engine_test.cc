// Answers of a whole engine over two ranks beside those of an engine of one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/integration/tensor_parallel/engine_ranks.h"

namespace keyhole::testing {
namespace {

constexpr float kTolerance = 1e-4F;  // of log-probabilities, f32 throughout

// Long and short, with a common beginning, and one that asks for everything there is.
std::vector<Request> Requests() {
  std::vector<Request> requests;
  requests.push_back(SmallRequest(SmallPrompt(300), 24));
  std::vector<TokenId> sibling = SmallPrompt(300);
  for (std::size_t i = 200; i < sibling.size(); ++i) sibling[i] = (sibling[i] + 11) % 250;
  requests.push_back(SmallRequest(std::move(sibling), 16));
  requests.push_back(SmallRequest(SmallPrompt(40, 3), 20));
  requests.push_back(SmallRequest(SmallPrompt(170, 5), 12));
  requests.back().output.prompt_logprobs = PromptLogprobRange{.first = 100, .count = 60};
  requests.back().selection.profile = AttentionProfile::kProse;
  requests.push_back(SmallRequest(SmallPrompt(250, 13), 12));
  requests.back().selection.selected_tokens = 5;
  requests.push_back(SmallRequest(SmallPrompt(250, 13), 12));
  requests.back().selection.force_full_attention = true;
  return requests;
}

std::vector<Recording::Events> AskAll(Engine& engine, bool at_once) {
  std::vector<std::shared_ptr<Recording>> recordings;
  for (Request& request : Requests()) {
    recordings.push_back(Ask(engine, std::move(request)));
    EXPECT_TRUE(at_once || recordings.back()->WaitForEnd(kDeadline));
  }
  std::vector<Recording::Events> answers;
  for (const auto& recording : recordings) {
    EXPECT_TRUE(recording->WaitForEnd(kDeadline));
    answers.push_back(recording->events());
    EXPECT_TRUE(answers.back().finished) << answers.back().failed.value_or(absl::OkStatus());
  }
  return answers;
}

void ExpectSame(const Recording::Events& split, const Recording::Events& alone) {
  ASSERT_TRUE(split.finished && alone.finished);
  EXPECT_EQ(split.token_ids(), alone.token_ids());
  EXPECT_FALSE(alone.token_ids().empty());
  const std::vector<TokenInfo> ours = Infos(split);
  const std::vector<TokenInfo> theirs = Infos(alone);
  ASSERT_EQ(ours.size(), theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_NEAR(ours[i].chosen.logprob, theirs[i].chosen.logprob, kTolerance) << i;
    ASSERT_EQ(ours[i].top.size(), theirs[i].top.size());
    for (std::size_t k = 0; k < ours[i].top.size(); ++k) {
      EXPECT_NEAR(ours[i].top[k].logprob, theirs[i].top[k].logprob, kTolerance) << i;
    }
  }
}

class TensorParallelEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    auto alone = Engine::Create(SmallConfig(), nullptr);
    ASSERT_TRUE(alone.ok()) << alone.status();
    alone_ = *std::move(alone);
    EngineConfig config = SmallConfig();
    config.tensor_parallel = RankSettings(2);
    worker_ = StartRank(config.tensor_parallel, 1, "work");
    auto split = Engine::Create(config, nullptr);
    ASSERT_TRUE(split.ok()) << split.status();
    split_ = *std::move(split);
  }

  std::unique_ptr<Engine> alone_;
  std::unique_ptr<Engine> split_;
  std::unique_ptr<ChildProcess> worker_;
};

TEST_F(TensorParallelEngine, AnswersAreThoseOfOneProcessAndBitForBitThemselvesInABatch) {
  const auto alone = AskAll(*alone_, false);
  const auto one_by_one = AskAll(*split_, false);
  const auto at_once = AskAll(*split_, true);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    SCOPED_TRACE(i);
    ExpectSame(one_by_one[i], alone[i]);
    EXPECT_EQ(one_by_one[i].finished->cached_prompt_tokens,
              alone[i].finished->cached_prompt_tokens);
    const auto first = Infos(one_by_one[i]);
    const auto second = Infos(at_once[i]);
    ASSERT_EQ(first.size(), second.size());
    for (std::size_t k = 0; k < first.size(); ++k) {
      EXPECT_EQ(first[k].chosen.logprob, second[k].chosen.logprob) << k;
    }
  }
  EXPECT_GT(one_by_one[1].finished->cached_prompt_tokens, 0)
      << "the prefix cache had no part in it";
}

TEST_F(TensorParallelEngine, TheWorkerEndsWellWithTheEngine) {
  ASSERT_TRUE(Ask(*split_, SmallRequest(SmallPrompt(50), 4))->WaitForEnd(kDeadline));
  EXPECT_TRUE(split_->Snapshot().failure.ok());
  split_.reset();
  EXPECT_EQ(worker_->Wait(kDeadline), 0);
}

TEST_F(TensorParallelEngine, AClosedEngineIsNoFailedOne) {
  ASSERT_TRUE(Ask(*split_, SmallRequest(SmallPrompt(50), 4))->WaitForEnd(kDeadline));
  split_->Close();
  EXPECT_EQ(worker_->Wait(kDeadline), 0);
  EXPECT_TRUE(split_->Snapshot().failure.ok()) << split_->Snapshot().failure;
}

TEST_F(TensorParallelEngine, EveryRankHasItsOwnKvHeadsOnly) {
  // Two KV heads in f32, one on each rank; digests are replicated.
  const std::int64_t rows = std::int64_t{2} * 2 * 16 * 16 * 4 * 2;
  EXPECT_EQ(alone_->Snapshot().kv_page_bytes - split_->Snapshot().kv_page_bytes, rows / 2);
}

}  // namespace
}  // namespace keyhole::testing
