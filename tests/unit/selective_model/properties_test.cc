// What holds between two runs of the whole forward pass with selective attention.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/weight_source.h"
#include "tests/support/golden_file.h"
#include "tests/support/model_runner.h"
#include "tests/support/recording_policy.h"

namespace keyhole {
namespace {

// A prompt and the answer that follows it, whatever the model would say.
struct Story {
  Story(std::uint32_t seed, std::int32_t prompt, std::int32_t answer) : prompt_len(prompt) {
    std::minstd_rand random(seed + 1);
    for (std::int32_t i = 0; i < prompt + answer; ++i) {
      tokens.push_back(static_cast<TokenId>(random() % 96));
    }
  }

  // What a step appends after `done` tokens: a chunk of the prompt or one token of the answer.
  std::span<const TokenId> Slice(std::int32_t done, std::int32_t chunk) const {
    const std::int32_t end = std::min(done - done % chunk + chunk, prompt_len);
    const std::int32_t n = done < prompt_len ? end - done : 1;
    return std::span(tokens).subspan(done, n);
  }

  std::int32_t size() const { return static_cast<std::int32_t>(tokens.size()); }
  RunnerSequence Sequence() const { return {.capacity = size(), .prompt_len = prompt_len}; }

  std::vector<TokenId> tokens;
  std::int32_t prompt_len;
};

class SelectiveModelTest : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr std::int32_t kChunk = 32;

  void SetUp() override {
    auto source = OpenModel(GoldenPath("tiny/" + GetParam()), {});
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
  }

  // Digests that are the keys themselves, scaled to codes.
  std::shared_ptr<const DigestMaps> IdentityMaps() const {
    constexpr float kCodesPerUnit = 16;
    const ModelConfig& config = source_->config();
    DigestMaps maps;
    maps.n_groups = static_cast<std::int32_t>(config.n_kv_heads);
    maps.in_dim = maps.rank = static_cast<std::int32_t>(config.head_dim);
    maps.layers.resize(config.n_layers);
    const std::size_t d = maps.in_dim;
    for (LayerDigestMaps& layer : maps.layers) {
      layer.query.assign(maps.n_groups * d * d, 0);
      layer.key = layer.query;
      for (std::size_t i = 0; i < maps.n_groups * d; ++i) {
        layer.query[i * d + i % d] = 1 / kCodesPerUnit;
        layer.key[i * d + i % d] = kCodesPerUnit;
      }
    }
    return std::make_shared<const DigestMaps>(std::move(maps));
  }

  RunnerOptions Options(PositionMode positions = PositionMode::kRectified) const {
    RunnerOptions options;
    options.kv = KvType::kBF16;
    options.n_threads = 2;
    options.chunk_size = kChunk;
    options.n_tokens = 1024;
    options.page_size = 16;
    options.policy = "esa";
    options.attention.positions = positions;
    options.attention.sizes = {.initial = 8, .local = 64, .selected = 16};
    DistanceSettings& distances = options.attention.distances;
    distances.recall = {.selected = 24, .initial = 64, .far_bias = 1, .local = 24};
    distances.prose = {.selected = 48, .initial = 64, .far_bias = 0};
    distances.tail = 24;
    options.selection.maps = IdentityMaps();
    options.selection.query_distance = 24;
    options.selection.proximity = 3;
    options.selection.probes = 4;
    options.coarse_dims = 8;
    options.selection.fine_rows = 64;
    return options;
  }

  std::unique_ptr<ModelRunner> Runner(const RunnerOptions& options) const {
    auto runner = ModelRunner::Create(source_, options);
    EXPECT_TRUE(runner.ok()) << runner.status();
    return runner.ok() ? *std::move(runner) : nullptr;
  }

  // Logits of the last token of each step, from the token `done` on.
  static std::vector<float> Play(ModelRunner& runner,
                                 std::int32_t sequence,
                                 const Story& story,
                                 std::int32_t done = 0,
                                 std::int32_t chunk = kChunk) {
    std::vector<float> logits;
    while (done < story.size()) {
      const RunnerSlice slice = {sequence, story.Slice(done, chunk)};
      const auto step = runner.Step({&slice, 1});
      EXPECT_TRUE(step.ok()) << step.status();
      if (!step.ok()) break;
      logits.insert(logits.end(), step->begin(), step->end());
      done += static_cast<std::int32_t>(slice.tokens.size());
    }
    return logits;
  }

  std::vector<float> PlayAlone(const RunnerOptions& options,
                               const Story& story,
                               SelectionParams wishes = {}) const {
    const std::unique_ptr<ModelRunner> runner = Runner(options);
    if (runner == nullptr) return {};
    RunnerSequence sequence = story.Sequence();
    sequence.selection = wishes;
    return Play(*runner, runner->AddSequence(sequence), story, 0, options.chunk_size);
  }

  static double RelativeError(std::span<const float> a, std::span<const float> b) {
    EXPECT_EQ(a.size(), b.size());
    if (a.size() != b.size()) return 1;
    double difference = 0;
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference = std::max<double>(difference, std::abs(a[i] - b[i]));
      largest = std::max<double>(largest, std::abs(b[i]));
    }
    return difference / largest;
  }

  // Of the prompt's end and the answer.
  std::span<const float> AnswerOf(const Story& story, std::span<const float> logits) const {
    return logits.last((story.size() - story.prompt_len + 1) * source_->config().vocab_size);
  }

  std::shared_ptr<const WeightSource> source_;
};

TEST_P(SelectiveModelTest, BudgetThatCoversTheMiddleEqualsFullAttention) {
  const Story story(0, 317, 6);
  SelectionParams everything;
  everything.force_full_attention = true;
  for (const PositionMode positions : {PositionMode::kNative, PositionMode::kRectified}) {
    RunnerOptions options = Options(positions);
    options.kv = KvType::kF32;
    const std::vector<float> chosen = PlayAlone(options, story);
    const std::vector<float> forced = PlayAlone(options, story, everything);
    options.attention.sizes.selected = 400;
    const std::vector<float> covered = PlayAlone(options, story);
    options.policy = "full";
    const std::vector<float> full = PlayAlone(options, story);
    EXPECT_LT(RelativeError(covered, full), 1e-4);
    EXPECT_LT(RelativeError(forced, full), 1e-4);
    EXPECT_GT(RelativeError(chosen, full), 1e-3);
  }
}

TEST_P(SelectiveModelTest, ProfileOfTheTailDecidesLocalRowsAndBudget) {
  const Story story(0, 317, 6);  // the tail, the last 24 of the prompt, begins in the chunk at 288
  RunnerOptions options = Options();
  options.attention.distances.recall.budget = 5;
  std::vector<SelectionRecord> records;
  options.wrap_policy = [&](std::unique_ptr<SelectionPolicy> policy) {
    return std::make_unique<RecordingPolicy>(std::move(policy), &records);
  };
  PlayAlone(options, story);
  int in_tail = 0;
  for (const SelectionRecord& record : records) {
    const bool tail = record.past >= 288;
    in_tail += tail;
    if (record.past <= 64 + 8 + 16) continue;
    EXPECT_EQ(record.selection.local.size(), tail ? 24 : 64) << record.past;
    EXPECT_EQ(record.selection.n_selected(), tail ? 5 : 16) << record.past;
  }
  EXPECT_GT(in_tail, 6);

  records.clear();
  SelectionParams wishes;
  wishes.profile = AttentionProfile::kProse;
  wishes.selected_tokens = 7;
  PlayAlone(options, story, wishes);
  ASSERT_FALSE(records.empty());
  for (const SelectionRecord& record : records) {
    if (record.past <= 64 + 8 + 16 || record.past >= 288) continue;
    EXPECT_EQ(record.selection.n_selected(), 16);
  }
  EXPECT_EQ(records.back().selection.local.size(), 64);
  EXPECT_EQ(records.back().selection.n_selected(), 7);
}

TEST_P(SelectiveModelTest, ChunkedFullAttentionEqualsOneShot) {
  const Story story(1, 300, 6);
  RunnerOptions options = Options(PositionMode::kNative);
  options.kv = KvType::kF32;
  options.policy = "full";
  const std::vector<float> chunked = PlayAlone(options, story);
  options.chunk_size = 512;
  const std::vector<float> one_shot = PlayAlone(options, story);
  EXPECT_LT(RelativeError(AnswerOf(story, chunked), one_shot), 1e-4);

  // All of the past is local.
  options = Options(PositionMode::kRectified);
  options.kv = KvType::kF32;
  options.attention.sizes.local = 512;
  const std::vector<float> local = PlayAlone(options, story);
  EXPECT_LT(RelativeError(AnswerOf(story, local), one_shot), 1e-4);
}

TEST_P(SelectiveModelTest, BatchEqualsEachSequenceAlone) {
  const std::vector<Story> stories = {{2, 317, 5}, {3, 150, 9}, {4, 40, 12}, {5, 97, 8}};
  const std::unique_ptr<ModelRunner> runner = Runner(Options());
  ASSERT_NE(runner, nullptr);
  const std::size_t vocab = runner->vocab_size();
  std::vector<std::int32_t> done(stories.size());
  std::vector<std::vector<float>> logits(stories.size());
  for (const Story& story : stories) runner->AddSequence(story.Sequence());
  for (std::size_t step = 0;; ++step) {
    std::vector<RunnerSlice> slices;
    for (std::size_t i = 0; i < stories.size(); ++i) {
      if (step < 2 * i || done[i] == stories[i].size()) continue;
      slices.push_back({static_cast<std::int32_t>(i), stories[i].Slice(done[i], kChunk)});
      done[i] += static_cast<std::int32_t>(slices.back().tokens.size());
    }
    if (slices.empty()) break;
    const auto rows = runner->Step(slices);
    ASSERT_TRUE(rows.ok()) << rows.status();
    for (std::size_t i = 0; i < slices.size(); ++i) {
      const auto row = rows->subspan(i * vocab, vocab);
      std::vector<float>& of = logits[slices[i].sequence];
      of.insert(of.end(), row.begin(), row.end());
    }
  }
  for (std::size_t i = 0; i < stories.size(); ++i) {
    EXPECT_EQ(logits[i], PlayAlone(Options(), stories[i])) << "sequence " << i;
  }
}

TEST_P(SelectiveModelTest, ThreadsDoNotChangeABit) {
  const Story story(6, 317, 5);
  RunnerOptions options = Options();
  options.n_threads = 1;
  const std::vector<float> one = PlayAlone(options, story);
  options.n_threads = 3;
  EXPECT_EQ(one, PlayAlone(options, story));
}

// The second sequence has pages and digests from the first, and has to fill its window from them.
TEST_P(SelectiveModelTest, SequenceOnSharedPagesEqualsACold) {
  constexpr std::int32_t kShared = 6 * kChunk;
  const Story first(7, 317, 5);
  Story second(8, 290, 7);
  std::copy_n(first.tokens.begin(), kShared, second.tokens.begin());
  for (const PositionMode positions : {PositionMode::kNative, PositionMode::kRectified}) {
    const RunnerOptions options = Options(positions);
    SelectionParams prose;
    prose.profile = AttentionProfile::kProse;
    const std::vector<float> cold = PlayAlone(options, second, prose);
    const std::unique_ptr<ModelRunner> runner = Runner(options);
    ASSERT_NE(runner, nullptr);
    const std::int32_t owner = runner->AddSequence(first.Sequence());
    Play(*runner, owner, first);
    RunnerSequence sequence = second.Sequence();
    sequence.selection = prose;
    sequence.shared_tokens = kShared;
    sequence.shared_from = owner;
    const std::vector<float> warm = Play(*runner, runner->AddSequence(sequence), second, kShared);
    ASSERT_LT(warm.size(), cold.size());
    EXPECT_EQ(
        warm,
        std::vector<float>(cold.end() - static_cast<std::ptrdiff_t>(warm.size()), cold.end()));
  }
}

INSTANTIATE_TEST_SUITE_P(Variants,
                         SelectiveModelTest,
                         ::testing::Values("llama", "mistral", "qwen2", "qwen3"),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace keyhole
