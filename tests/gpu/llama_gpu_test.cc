// The whole forward pass on the accelerator against the CPU's, on tiny models.
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "engine/device/device_error.h"
#include "engine/model/cuda/device_model.h"
#include "engine/selection_setup.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/support/model_runner.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 16;
constexpr std::int32_t kPages = 40;
constexpr std::int32_t kContext = 300;

// A rank of two, the other of which sends what this one sends.
class EchoCollectives final : public DeviceCollectives {
 public:
  const Shard& shard() const override { return shard_; }
  void AllReduce(const Stream&, float*, std::int64_t) override {}
  void AllGather(const Stream& stream, const float* x, std::int64_t n, float* out) override {
    for (std::int32_t rank = 0; rank < shard_.size; ++rank) {
      ThrowIfFailed(CopyAsync(stream, out + rank * n, x, n * sizeof(float)));
    }
  }
  bool capturable() const override { return true; }
  void set_drop_captured(const std::function<void()>& drop) override { drop_captured = drop; }
  absl::Status Synchronize(const Stream& stream) override {
    ++n_waits;
    return stream.Synchronize();
  }
  absl::StatusOr<std::int64_t> Smallest(std::int64_t own) override { return own; }

  std::function<void()> drop_captured;
  int n_waits = 0;

 private:
  Shard shard_ = {.rank = 0, .size = 2};
};

class LlamaGpuTest : public GpuTest {
 protected:
  struct Sequence {
    RequestId id = 0;
    std::vector<PageId> pages;
    std::vector<TokenId> tokens;
    std::int32_t prompt_len = 0;
  };

  void Make(const std::string& name,
            Residency residency = Residency::kDevice,
            std::int32_t selected = 24) {
    source_ = std::shared_ptr<const WeightSource>(OpenModel("synthetic:" + name, {}).value());
    const ModelConfig& config = source_->config();
    attention_ = {.positions = PositionMode::kRectified,
                  .sizes = {.initial = 8, .local = 40, .selected = selected},
                  .prefill_local = 40,
                  .distances = DefaultDistances(40)};
    attention_.distances.chunk_size = 32;
    attention_.distances.tail = 8;
    attention_.distances.recall.budget = selected;
    maps_ = TruncatingMaps(config, DigestForm::kPerKvHead);
    parts_.query_distance = 20;
    parts_.proximity = 2;
    parts_.probes = 3;
    parts_.single_queries = 4;
    rope_.emplace(config, RopePositions(attention_, parts_, kContext));
    const std::size_t row = 2 * config.kv_size() * 4 * static_cast<std::size_t>(config.n_layers);
    const std::size_t pages = residency == Residency::kDevice ? kPages : 24;
    model_.reset();
    const ModelShard shard = ShardModel(config, ranks_ ? ranks_->shard() : Shard()).value();
    weights_ = cuda::DeviceWeights::Load(stream(), *source_, shard, config.n_layers).value();
    absl::StatusOr<std::unique_ptr<cuda::DeviceModel>> model = cuda::DeviceModel::Create(
        stream(),
        shard,
        *weights_,
        &maps_,
        *rope_,
        {.kv = KvType::kF32,
         .page_size = kPage,
         .n_pages = kPages,
         .n_sequences = n_sequences_,
         .residency = residency,
         .device_bytes = pages * kPage * row + 60 * row,
         .attention = attention_,
         .selection = {.query_distance = 20, .proximity = 2, .probes = 3, .single_queries = 4},
         .ranks = ranks_});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    next_page_ = kPages;
  }

  Sequence MakeSequence(RequestId id, std::int32_t prompt_len, std::int32_t capacity) {
    Sequence sequence = {.id = id, .pages = {}, .tokens = {}, .prompt_len = prompt_len};
    for (std::int32_t i = 0; i < PagesForTokens(capacity, kPage); ++i) {
      sequence.pages.push_back((--next_page_ * 7) % kPages);
    }
    return sequence;
  }

  static TokenId TokenOf(RequestId id, std::size_t at) {
    return static_cast<TokenId>((id * 131 + at * at * 7 + at) % 500);
  }

  // Appends `counts[i]` tokens to sequence i.
  static ModelInput InputOf(std::vector<Sequence>& sequences, const std::vector<int>& counts) {
    ModelInput input;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      if (counts[i] == 0) continue;
      Sequence& sequence = sequences[i];
      SequenceSlice slice;
      slice.id = sequence.id;
      slice.q_begin = static_cast<std::int32_t>(input.positions.size());
      slice.q_len = counts[i];
      slice.kv_len = static_cast<std::int32_t>(sequence.tokens.size());
      slice.prompt_len = sequence.prompt_len;
      slice.pages = sequence.pages;
      slice.sample = true;
      for (int c = 0; c < counts[i]; ++c) {
        input.positions.push_back(static_cast<std::int32_t>(sequence.tokens.size()));
        sequence.tokens.push_back(TokenOf(sequence.id, sequence.tokens.size()));
        input.token_ids.push_back(sequence.tokens.back());
      }
      input.sequences.push_back(slice);
    }
    return input;
  }

  absl::StatusOr<cuda::DeviceOutputs> Forward(const ModelInput& input) {
    StepResult result;
    result.sequences.resize(input.sequences.size());
    return model_->llama().Forward(input, cuda::DeviceLlama::Want::kLogits, result);
  }

  // Logits of each sequence's last token.
  cuda::DeviceOutputs Step(std::vector<Sequence>& sequences, const std::vector<int>& counts) {
    const absl::StatusOr<cuda::DeviceOutputs> outputs = Forward(InputOf(sequences, counts));
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    return outputs.ok() ? *outputs : cuda::DeviceOutputs{};
  }

  static std::vector<std::vector<int>> Steps() {
    std::vector<std::vector<int>> steps = {{32, 0}, {32, 32}, {32, 32}, {32, 32}, {14, 32}, {1, 5}};
    for (int i = 0; i < 6; ++i) steps.push_back({1, 1});
    return steps;
  }

  std::vector<std::vector<float>> RunAll() {
    std::vector<Sequence> sequences = {MakeSequence(1, 142, 160), MakeSequence(2, 133, 150)};
    std::vector<std::vector<float>> all;
    for (const std::vector<int>& counts : Steps()) {
      const cuda::DeviceOutputs outputs = Step(sequences, counts);
      all.emplace_back(outputs.logits.begin(), outputs.logits.end());
      const std::size_t vocab =
          outputs.logits.size() / std::max<std::size_t>(1, outputs.tokens.size());
      for (std::size_t i = 0; i < outputs.tokens.size(); ++i) {
        const std::span<const float> row = outputs.logits.subspan(i * vocab, vocab);
        EXPECT_EQ(outputs.tokens[i], std::max_element(row.begin(), row.end()) - row.begin());
      }
    }
    return all;
  }

  std::vector<std::vector<float>> RunAllOnCpu() {
    RunnerOptions options;
    options.n_threads = 1;
    options.chunk_size = 32;
    options.n_tokens = kContext;
    options.page_size = kPage;
    options.policy = "esa";
    options.attention = attention_;
    options.selection = parts_;
    options.selection.recall_interval = 0;
    options.selection.maps = std::make_shared<DigestMaps>(maps_);
    std::unique_ptr<ModelRunner> runner = ModelRunner::Create(source_, options).value();
    std::vector<std::vector<TokenId>> tokens(2);
    for (const std::int32_t prompt_len : {142, 133}) {
      RunnerSequence sequence;
      sequence.capacity = 160;
      sequence.prompt_len = prompt_len;
      runner->AddSequence(sequence);
    }
    std::vector<std::vector<float>> all;
    for (const std::vector<int>& counts : Steps()) {
      std::vector<RunnerSlice> slices;
      for (std::int32_t i = 0; i < 2; ++i) {
        if (counts[i] == 0) continue;
        const std::size_t begin = tokens[i].size();
        tokens[i].reserve(200);
        for (int c = 0; c < counts[i]; ++c) {
          tokens[i].push_back(TokenOf(i + 1, tokens[i].size()));
        }
        slices.push_back({i, std::span(tokens[i]).subspan(begin)});
      }
      const absl::StatusOr<std::span<const float>> logits = runner->Step(slices);
      EXPECT_TRUE(logits.ok()) << logits.status();
      all.emplace_back(logits->begin(), logits->end());
    }
    return all;
  }

  std::int32_t n_sequences_ = 2;
  DeviceCollectives* ranks_ = nullptr;
  std::shared_ptr<const WeightSource> source_;
  AttentionSettings attention_;
  PolicyParts parts_;
  DigestMaps maps_;
  std::optional<RopeTable> rope_;
  std::optional<cuda::DeviceWeights> weights_;
  std::unique_ptr<cuda::DeviceModel> model_;
  PageId next_page_ = kPages;
};

// Inputs of products are bf16 there and f32 here: logits of a deviation of one differ by some
// hundredths. Of random weights other rows would be chosen for less, so that here the budget covers
// them all.
TEST_F(LlamaGpuTest, LogitsAreThoseOfTheCpu) {
  for (const char* name : {"tiny", "tiny-qwen2", "tiny-qwen3"}) {
    Make(name, Residency::kDevice, 200);
    if (HasFatalFailure()) return;
    const std::vector<std::vector<float>> got = RunAll();
    const std::vector<std::vector<float>> expected = RunAllOnCpu();
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t step = 0; step < got.size(); ++step) {
      ASSERT_EQ(got[step].size(), expected[step].size()) << name << " step " << step;
      double square = 0;
      double difference = 0;
      for (std::size_t i = 0; i < got[step].size(); ++i) {
        square += expected[step][i] * expected[step][i];
        difference += (got[step][i] - expected[step][i]) * (got[step][i] - expected[step][i]);
      }
      EXPECT_LT(std::sqrt(difference / square), 0.03) << name << " step " << step;
    }
    EXPECT_EQ(model_->llama().n_captures(), 1) << "of six steps of one token each";
  }
}

TEST_F(LlamaGpuTest, ResidenciesAgreeBitForBit) {
  Make("tiny");
  const std::vector<std::vector<float>> expected = RunAll();
  for (const Residency residency : {Residency::kHost, Residency::kAuto}) {
    Make("tiny", residency);
    if (HasFatalFailure()) return;
    ASSERT_TRUE(model_->kv().plan().spills);
    EXPECT_TRUE(RunAll() == expected) << ResidencyName(residency);
  }
}

TEST_F(LlamaGpuTest, AStepThatMeetsADefectHoldsNothingAndMayBeRunAgain) {
  Make("tiny", Residency::kHost);
  const std::vector<std::vector<float>> expected = RunAll();
  Make("tiny", Residency::kHost);
  std::vector<Sequence> sequences = {MakeSequence(1, 142, 160), MakeSequence(2, 133, 150)};
  for (std::size_t i = 0; i < Steps().size(); ++i) {
    std::vector<Sequence> defect = sequences;
    ModelInput input = InputOf(defect, Steps()[i]);
    SequenceSlice& last = input.sequences.back();
    last.pages = last.pages.first(last.kv_len / kPage);  // none for its new rows
    EXPECT_THROW(Forward(input).IgnoreError(), std::logic_error) << "step " << i;
    for (std::int32_t page = 0; page < kPages; ++page) {
      EXPECT_EQ(model_->kv().pages().pins(page), 0) << "step " << i << " page " << page;
    }
    const cuda::DeviceOutputs outputs = Step(sequences, Steps()[i]);
    EXPECT_TRUE(std::ranges::equal(outputs.logits, expected[i])) << "step " << i;
  }
}

TEST_F(LlamaGpuTest, GraphsOfEverySizeOfABatchAreKept) {
  n_sequences_ = 18;
  Make("tiny");
  if (HasFatalFailure()) return;
  std::vector<Sequence> sequences;
  sequences.reserve(n_sequences_);
  for (int i = 0; i < n_sequences_; ++i) {
    sequences.push_back(MakeSequence(i + 1, 2, 2 + 2 * (n_sequences_ - i)));
  }
  Step(sequences, std::vector<int>(n_sequences_, 2));
  for (const int n_captures : {0, 18}) {
    for (int size = n_sequences_; size > 0; --size) {
      std::vector<int> counts(n_sequences_, 0);
      std::fill_n(counts.begin(), size, 1);
      Step(sequences, counts);
    }
    EXPECT_EQ(model_->llama().n_captures(), n_captures);
  }
}

TEST_F(LlamaGpuTest, WithRanksCapturesCanBeGivenUpAndTheEndIsWaitedFor) {
  EchoCollectives ranks;
  ranks_ = &ranks;
  Make("tiny");
  if (HasFatalFailure()) return;
  std::vector<Sequence> sequences = {MakeSequence(1, 20, 40)};
  Step(sequences, {20});
  for (int i = 0; i < 4; ++i) Step(sequences, {1});
  EXPECT_EQ(model_->llama().n_captures(), 1);
  ASSERT_TRUE(ranks.drop_captured);
  ranks.drop_captured();
  for (int i = 0; i < 2; ++i) Step(sequences, {1});
  EXPECT_EQ(model_->llama().n_captures(), 2);
  const int n_waits = ranks.n_waits;
  model_.reset();
  EXPECT_FALSE(ranks.drop_captured);
  EXPECT_EQ(ranks.n_waits, n_waits + 1) << "memory that copies go through goes when they are done";
}

TEST_F(LlamaGpuTest, LayersMayBeCopies) {
  Make("tiny");
  const absl::StatusOr<cuda::DeviceWeights> weights =
      cuda::DeviceWeights::Load(stream(), *source_, ShardModel(source_->config(), {}).value(), 5);
  ASSERT_TRUE(weights.ok());
  ASSERT_EQ(weights->layers().size(), 5);
  const std::size_t n = 64 * 4 * 16;
  EXPECT_EQ(FromDevice(weights->layers()[3].o.data, n), FromDevice(weights->layers()[1].o.data, n));
  EXPECT_NE(FromDevice(weights->layers()[3].o.data, n), FromDevice(weights->layers()[0].o.data, n));
}

}  // namespace
}  // namespace keyhole
