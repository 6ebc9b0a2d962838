#include "engine/calibration/moments.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <string>

#include "engine/calibration/recorded_model.h"
#include "engine/calibration/samples.h"
#include "engine/model/rope_table.h"
#include "tests/support/golden_file.h"

namespace keyhole {
namespace {

constexpr std::int64_t kTokens = 100;
constexpr std::int64_t kSegment = 64;
constexpr std::int32_t kDistance = 20;

// One head turned to kDistance, from the definition, in f64. The angles are RopeTable's own, tested
// elsewhere: some of the models scale them.
std::vector<double> Turned(const RopeTable& rope, const float* x) {
  const std::int32_t half = rope.head_dim() / 2;
  std::vector<double> out(rope.head_dim());
  for (std::int32_t i = 0; i < half; ++i) {
    const double cos = rope.rows().cos[kDistance * half + i];
    const double sin = rope.rows().sin[kDistance * half + i];
    out[i] = x[i] * cos - x[half + i] * sin;
    out[half + i] = x[half + i] * cos + x[i] * sin;
  }
  return out;
}

void AddSquare(const double* x, std::int64_t dim, double weight, double* moment) {
  for (std::int64_t i = 0; i < dim; ++i) {
    for (std::int64_t j = 0; j < dim; ++j) moment[i * dim + j] += weight * x[i] * x[j];
  }
}

void ExpectNear(const std::vector<double>& moment, const std::vector<double>& expected) {
  ASSERT_EQ(moment.size(), expected.size());
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  ASSERT_GT(largest, 0);
  for (std::size_t i = 0; i < moment.size(); ++i) {
    ASSERT_NEAR(moment[i], expected[i], 1e-6 * largest) << i;
  }
}

// The tiny models of every architecture read a text of two segments.
class MomentsTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto source = OpenModel(GoldenPath("tiny/" + GetParam()), {});
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
    auto model = RecordedModel::Load({.source = source_,
                                      .weights = WeightMode::kF32,
                                      .device = &device_,
                                      .max_segment = kSegment,
                                      .progress = {}});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    for (std::int64_t i = 0; i < kTokens; ++i) {
      tokens_.push_back(static_cast<TokenId>((i * i + 3 * i) % config().vocab_size));
    }
  }

  const ModelConfig& config() const { return source_->config(); }

  void ReadText(std::vector<ActivationSink*> sinks) {
    model_->SetSinks(std::move(sinks));
    std::int64_t seen = 0;
    for (std::int64_t first = 0; first < kTokens; first += kSegment) {
      const std::span segment(tokens_.data() + first, std::min(kSegment, kTokens - first));
      const absl::Status status =
          model_->Read(segment, first, [&](std::int32_t count) { seen += count; });
      ASSERT_TRUE(status.ok()) << status;
    }
    EXPECT_EQ(seen, kTokens);
  }

  Device device_{2};
  std::shared_ptr<const WeightSource> source_;
  std::unique_ptr<RecordedModel> model_;
  std::vector<TokenId> tokens_;
};

TEST_P(MomentsTest, AreThoseOfTheRowsThatWereSeen) {
  const RopeTable rope(config(), kDistance + 1);
  const auto dim = static_cast<std::int32_t>(config().head_dim);
  MomentRecorder moments(config(), RotationTo(rope.rows(), dim, kDistance), true);
  const TokenChoice all = {.begin = 0, .end = kTokens};
  SampleRecorder sample(config(), all, all);
  ReadText({&moments, &sample});
  const std::int64_t kv_size = config().kv_size();
  for (std::int32_t layer = 0; layer < config().n_layers; ++layer) {
    const LayerSample& rows = sample.Layer(layer);
    ASSERT_EQ(rows.queries.size(), kTokens * config().q_size());
    ASSERT_EQ(rows.keys.size(), kTokens * kv_size);
    std::vector<double> split_q(config().n_kv_heads * dim * dim);
    std::vector<double> split_k(split_q.size());
    std::vector<double> joined_q(kv_size * kv_size);
    std::vector<double> joined_k(kv_size * kv_size);
    for (std::int64_t token = 0; token < kTokens; ++token) {
      std::vector<double> summed(kv_size);
      for (std::int64_t head = 0; head < config().n_heads; ++head) {
        const std::int64_t kv_head = head / config().group();
        const std::vector<double> q =
            Turned(rope, rows.queries.data() + token * config().q_size() + head * dim);
        AddSquare(q.data(),
                  dim,
                  1.0 / static_cast<double>(kTokens * config().group()),
                  split_q.data() + kv_head * dim * dim);
        for (std::int32_t i = 0; i < dim; ++i) summed[kv_head * dim + i] += q[i];
      }
      AddSquare(summed.data(), kv_size, 1.0 / kTokens, joined_q.data());
      const float* key = rows.keys.data() + token * kv_size;
      const std::vector<double> k(key, key + kv_size);
      AddSquare(k.data(), kv_size, 1.0 / kTokens, joined_k.data());
      for (std::int64_t g = 0; g < config().n_kv_heads; ++g) {
        AddSquare(k.data() + g * dim, dim, 1.0 / kTokens, split_k.data() + g * dim * dim);
      }
    }
    const LayerMoments recorded = moments.Layer(layer);
    ExpectNear(recorded.per_kv_head.query, split_q);
    ExpectNear(recorded.per_kv_head.key, split_k);
    ExpectNear(recorded.concatenated.query, joined_q);
    ExpectNear(recorded.concatenated.key, joined_k);
  }
}

TEST_P(MomentsTest, SamplesKeepTheTokensThatWereChosen) {
  const TokenChoice all = {.begin = 0, .end = kTokens};
  const TokenChoice some = {.begin = 10, .end = 90, .step = 30};
  SampleRecorder whole(config(), all, all);
  SampleRecorder chosen(config(), some, some);
  ReadText({&whole, &chosen});
  for (std::int32_t layer = 0; layer < config().n_layers; ++layer) {
    std::vector<float> keys;
    for (const std::int64_t token : {10, 40, 70}) {
      const auto row = whole.Layer(layer).keys.begin() + token * config().kv_size();
      keys.insert(keys.end(), row, row + config().kv_size());
    }
    EXPECT_EQ(chosen.Layer(layer).keys, keys);
    EXPECT_EQ(chosen.Layer(layer).queries.size(), 3 * config().q_size());
  }
}

// Key = W_k norm(embedding), before rotation: what the first layer must show.
TEST_P(MomentsTest, KeysAndQueriesAreUnrotatedProjections) {
  if (config().qk_norm || config().qkv_bias) return;
  const TokenChoice all = {.begin = 0, .end = kTokens};
  SampleRecorder sample(config(), all, all);
  ReadText({&sample});
  const auto row_of = [&](const std::string& name, std::int64_t row) {
    const WeightView view = *source_->Get(name);
    std::vector<float> values(view.n_cols);
    DequantizeRow(view, source_->RowOf(name, row), values);
    return values;
  };
  const std::vector<float> norm = row_of("layers.0.attn_norm", 0);
  for (const std::int64_t token : {std::int64_t{3}, kTokens - 1}) {
    std::vector<float> hidden = row_of("token_embedding", tokens_[token]);
    double square = 0;
    for (const float value : hidden) square += value * value / static_cast<double>(hidden.size());
    const double scale = 1 / std::sqrt(square + config().norm_eps);
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      hidden[i] = static_cast<float>(hidden[i] * scale * norm[i]);
    }
    const auto expect =
        [&](const std::string& name, const std::vector<float>& rows, std::int64_t size) {
          for (std::int64_t row = 0; row < size; ++row) {
            const std::vector<float> weights = row_of(name, row);
            const double product =
                std::inner_product(weights.begin(), weights.end(), hidden.begin(), 0.0);
            EXPECT_NEAR(rows[token * size + row], product, 1e-4 * (1 + std::abs(product))) << name;
          }
        };
    expect("layers.0.k", sample.Layer(0).keys, config().kv_size());
    expect("layers.0.q", sample.Layer(0).queries, config().q_size());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tiny,
    MomentsTest,
    ::testing::Values("llama", "llama_tied_llama3", "mistral", "qwen2", "qwen3"),
    [](const auto& tiny) { return tiny.param; });

}  // namespace
}  // namespace keyhole
