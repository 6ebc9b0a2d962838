#include "engine/calibration/quality.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "engine/calibration/digest_scales.h"
#include "engine/model/rope_table.h"
#include "tests/unit/calibration/random_rows.h"

namespace keyhole {
namespace {

constexpr std::int64_t kTokens = 200;
constexpr std::int32_t kDistance = 40;
constexpr std::int32_t kDim = 16;
constexpr std::int32_t kHeads = 4;
constexpr std::int32_t kKvHeads = 2;

ModelConfig Config() {
  ModelConfig config;
  config.n_layers = 1;
  config.n_heads = kHeads;
  config.n_kv_heads = kKvHeads;
  config.head_dim = kDim;
  return config;
}

std::vector<double> Turned(const float* x, double position) {
  std::vector<double> out(kDim);
  for (std::int32_t i = 0; i < kDim / 2; ++i) {
    const double angle = position * std::pow(10000.0, -2.0 * i / kDim);
    out[i] = x[i] * std::cos(angle) - x[kDim / 2 + i] * std::sin(angle);
    out[kDim / 2 + i] = x[kDim / 2 + i] * std::cos(angle) + x[i] * std::sin(angle);
  }
  return out;
}

template <typename A, typename B>
double Dot(const A* a, const B* b, std::int32_t dim = kDim) {
  double sum = 0;
  for (std::int32_t i = 0; i < dim; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

void Softmax(std::vector<double>& logits) {
  const double largest = *std::ranges::max_element(logits);
  double total = 0;
  for (double& value : logits) total += value = std::exp((value - largest) / std::sqrt(kDim));
  for (double& value : logits) value /= total;
}

std::set<std::int64_t> Top(const std::vector<double>& scores, std::int32_t k) {
  std::vector<std::int64_t> rows(scores.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  std::ranges::stable_sort(rows, [&](auto a, auto b) { return scores[a] > scores[b]; });
  return {rows.begin(), rows.begin() + k};
}

class QualityTest : public ::testing::Test {
 protected:
  QualityTest() {
    sample_.keys = RandomRows(kTokens, kKvHeads * kDim, 31);
    // Of a size that makes softmaxes neither flat nor one row.
    for (float& value : sample_.keys) value *= 0.3F;
    text_.config = &config_;
    text_.table = rope_.rows();
    text_.sizes = {.initial = 8, .local = 32, .selected = 12};
    text_.probes = {150, 170, 199};
    sample_.queries = RandomRows(3 * kHeads, kDim, 32);
    for (float& value : sample_.queries) value *= 0.3F;
  }

  const float* Query(std::size_t probe, std::int32_t head) const {
    return sample_.queries.data() + (probe * kHeads + head) * kDim;
  }
  const float* Key(std::int64_t row, std::int32_t head) const {
    return sample_.keys.data() + (row * kKvHeads + head / (kHeads / kKvHeads)) * kDim;
  }

  // Maps of the sample's own moments.
  DigestMaps Maps(DigestForm form, std::int32_t rank) const {
    const bool split = form == DigestForm::kPerKvHead;
    FormMoments moments;
    moments.n_groups = split ? kKvHeads : 1;
    moments.dim = split ? kDim : kKvHeads * kDim;
    for (std::int32_t g = 0; g < moments.n_groups; ++g) {
      for (std::int32_t i = 0; i < moments.dim * moments.dim; ++i) {
        moments.query.push_back(i % (moments.dim + 1) == 0 ? 1 : 0);
      }
    }
    moments.key = moments.query;
    DigestMaps maps;
    maps.form = form;
    maps.n_groups = moments.n_groups;
    maps.rank = rank;
    maps.in_dim = moments.dim;
    maps.query_distance = kDistance;
    maps.layers.push_back(FitToInt8(ClosedForm(moments, rank), sample_.keys));
    return maps;
  }

  const ModelConfig config_ = Config();
  const RopeTable rope_{config_, kTokens};
  LayerSample sample_;
  HeldOutText text_;
};

TEST_F(QualityTest, NeededMassIsTheMiddlesShareOfNativeAttention) {
  double expected = 0;
  double peak = 0;
  for (std::size_t probe = 0; probe < text_.probes.size(); ++probe) {
    const std::int32_t position = text_.probes[probe];
    for (std::int32_t head = 0; head < kHeads; ++head) {
      std::vector<double> attention(position + 1);
      const std::vector<double> q = Turned(Query(probe, head), position);
      for (std::int32_t row = 0; row <= position; ++row) {
        const std::vector<double> k = Turned(Key(row, head), row);
        attention[row] = Dot(q.data(), k.data());
      }
      Softmax(attention);
      for (std::int32_t row = 8; row < position - 32; ++row) {
        expected += attention[row] / 12;
        peak = std::max(peak, attention[row]);
      }
    }
  }
  const DigestMaps maps = Maps(DigestForm::kPerKvHead, 8);
  const LayerQuality quality = ExactLayer(text_, kDistance, sample_).Measure(maps, maps.layers[0]);
  EXPECT_NEAR(quality.needed_mass, expected, 1e-5);
  EXPECT_NEAR(quality.peak, peak, 1e-5);
}

TEST_F(QualityTest, FiguresAreThoseOfTheirDefinitions) {
  const DigestMaps maps = Maps(DigestForm::kPerKvHead, 8);
  const LayerDigestMaps& layer = maps.layers[0];
  double error = 0;
  double norm = 0;
  double overlap = 0;
  double mass = 0;
  for (std::size_t probe = 0; probe < text_.probes.size(); ++probe) {
    const std::int32_t n = text_.probes[probe] - 32 - 8;
    std::vector<double> exact_vote(n);
    std::vector<double> vote(n);
    for (std::int32_t head = 0; head < kHeads; ++head) {
      const std::int32_t group = head / (kHeads / kKvHeads);
      const std::vector<double> q = Turned(Query(probe, head), kDistance);
      std::vector<double> small(8);
      double largest = 0;
      for (std::int32_t r = 0; r < 8; ++r) {
        small[r] = Dot(layer.query.data() + (group * 8 + r) * kDim, q.data());
        largest = std::max(largest, std::abs(small[r]));
      }
      std::vector<double> exact(n);
      std::vector<double> compressed(n);
      for (std::int32_t j = 0; j < n; ++j) {
        exact[j] = Dot(q.data(), Key(8 + j, head));
        for (std::int32_t r = 0; r < 8; ++r) {
          const double code = Dot(layer.key.data() + (group * 8 + r) * kDim, Key(8 + j, head));
          compressed[j] += std::clamp(std::nearbyint(code), -127.0, 127.0) * largest / 127 *
                           std::nearbyint(small[r] * 127 / largest);
        }
        error += std::pow(exact[j] - compressed[j], 2);
        norm += exact[j] * exact[j];
      }
      Softmax(exact);
      Softmax(compressed);
      for (std::int32_t j = 0; j < n; ++j) {
        exact_vote[j] += exact[j];
        vote[j] += compressed[j];
      }
    }
    const std::set<std::int64_t> right = Top(exact_vote, 12);
    double carried = 0;
    double best = 0;
    for (const std::int64_t row : right) best += exact_vote[row];
    for (const std::int64_t row : Top(vote, 12)) {
      carried += exact_vote[row];
      overlap += right.contains(row) ? 1.0 / 36 : 0;
    }
    mass += carried / best / 3;
  }
  const LayerQuality quality = ExactLayer(text_, kDistance, sample_).Measure(maps, maps.layers[0]);
  EXPECT_NEAR(quality.score_error, std::sqrt(error / norm), 0.01 * quality.score_error);
  EXPECT_NEAR(quality.overlap, overlap, 0.03);  // a rounding that falls the other way moves a row
  EXPECT_NEAR(quality.mass, mass, 0.01);
  EXPECT_GT(quality.score_error, 0.05);  // otherwise the comparison says nothing
}

TEST(DecideSelectionTest, LeadingLayersWithoutPeaksNeedNone) {
  const auto decide = [](const std::vector<double>& peaks) {
    std::vector<LayerQuality> quality(peaks.size());
    DigestMaps maps;
    maps.layers.resize(peaks.size());
    for (std::size_t i = 0; i < peaks.size(); ++i) quality[i].peak = peaks[i];
    DecideSelection(quality, maps);
    std::string selects;
    for (const LayerDigestMaps& layer : maps.layers) selects += layer.selects ? 'y' : 'n';
    return selects;
  };
  EXPECT_EQ(decide({0.01, 0.02, 0.1, 0.5}), "nnyy");
  EXPECT_EQ(decide({0.1, 0.01, 0.5, 0.01}), "yyyy");
  EXPECT_EQ(decide({0.01, 0.1, 0.01, 0.01}), "nyyy");
}

TEST_F(QualityTest, FullRankLosesOnlyTheRounding) {
  const ExactLayer exact(text_, kDistance, sample_);
  for (const DigestForm form : {DigestForm::kPerKvHead, DigestForm::kConcatenated}) {
    const DigestMaps maps = Maps(form, form == DigestForm::kPerKvHead ? kDim : kKvHeads * kDim);
    const LayerQuality quality = exact.Measure(maps, maps.layers[0]);
    EXPECT_LT(quality.score_error, 0.05);
    EXPECT_GT(quality.overlap, 0.9);
    EXPECT_NEAR(quality.mass, 1, 0.02);
  }
}

}  // namespace
}  // namespace keyhole
