#include "engine/calibration/quality.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "engine/calibration/form_rows.h"

namespace keyhole {
namespace {

constexpr double kLargestCode = 127;

// On SmolLM2 the layers that need no selection have peaks up to 0.02, the next one 0.05.
constexpr double kPeak = 0.03;

at::Tensor Matrix(const float* values, std::int64_t n, std::int64_t dim, std::int64_t stride) {
  return at::from_blob(const_cast<float*>(values), {n, dim}, {stride, 1}, at::kFloat);
}

// out [n_queries, n_keys] = the products of queries [n_queries, dim] with keys [n_keys, dim].
void Products(const at::Tensor& queries, const at::Tensor& keys, float* out) {
  const at::Tensor products = queries.matmul(keys.t()).contiguous();
  std::copy_n(products.const_data_ptr<float>(), products.numel(), out);
}

// From q . k at the query distance to a logit. Un-rotated keys lack YaRN's attention factor.
double FarScale(const HeldOutText& text) {
  return text.table.attention_factor / std::sqrt(static_cast<double>(text.config->head_dim));
}

// Adds softmax(scale * logits) to `sum`.
void AddSoftmax(std::span<const float> logits, double scale, std::span<double> sum) {
  const double largest = *std::ranges::max_element(logits);
  std::vector<double> weights(logits.size());
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    weights[i] = std::exp(scale * (logits[i] - largest));
    total += weights[i];
  }
  for (std::size_t i = 0; i < logits.size(); ++i) sum[i] += weights[i] / total;
}

// Ascending; ties go to the smaller row.
std::vector<std::int32_t> LargestRows(std::span<const double> scores, std::int32_t k) {
  std::vector<std::int32_t> rows(scores.size());
  std::iota(rows.begin(), rows.end(), 0);
  k = std::min(k, static_cast<std::int32_t>(rows.size()));
  std::partial_sort(
      rows.begin(), rows.begin() + k, rows.end(), [&](std::int32_t a, std::int32_t b) {
        return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
      });
  rows.resize(k);
  std::ranges::sort(rows);
  return rows;
}

double SumOf(std::span<const double> values, std::span<const std::int32_t> rows) {
  double sum = 0;
  for (const std::int32_t row : rows) sum += values[row];
  return sum;
}

float Round(double value) {
  return static_cast<float>(std::clamp(std::nearbyint(value), -kLargestCode, kLargestCode));
}

// Keys at their own positions.
std::vector<float> RotatedKeys(const HeldOutText& text, const LayerSample& sample) {
  const std::int64_t dim = text.config->head_dim;
  const std::int64_t kv_size = text.config->kv_size();
  std::vector<float> rotated(sample.keys.size());
  for (std::size_t at = 0; at < rotated.size(); at += dim) {
    const auto position = static_cast<std::int64_t>(at) / kv_size;
    RotateHead(RotationTo(text.table, static_cast<std::int32_t>(dim), position),
               sample.keys.data() + at,
               rotated.data() + at);
  }
  return rotated;
}

// Digests [n_keys, n_groups * rank] of un-rotated keys.
std::vector<float> Digests(const DigestMaps& shape,
                           const LayerDigestMaps& maps,
                           const LayerSample& sample) {
  const std::int64_t stride = std::int64_t{1} * shape.n_groups * shape.in_dim;
  const std::int64_t n_keys = static_cast<std::int64_t>(sample.keys.size()) / stride;
  std::vector<float> digests(n_keys * shape.n_groups * shape.rank);
  for (std::int64_t group = 0; group < shape.n_groups; ++group) {
    const float* map = maps.key.data() + group * shape.rank * shape.in_dim;
    const at::Tensor codes =
        Matrix(sample.keys.data() + group * shape.in_dim, n_keys, shape.in_dim, stride)
            .matmul(Matrix(map, shape.rank, shape.in_dim, shape.in_dim).t())
            .contiguous();
    const float* from = codes.const_data_ptr<float>();
    for (std::int64_t key = 0; key < n_keys; ++key) {
      float* to = digests.data() + (key * shape.n_groups + group) * shape.rank;
      for (std::int64_t i = 0; i < shape.rank; ++i) to[i] = Round(from[key * shape.rank + i]);
    }
  }
  return digests;
}

// Rounds the rows of `queries` [n, rank] to codes; returns their scales.
std::vector<float> RoundQueries(at::Tensor& queries) {
  float* values = queries.mutable_data_ptr<float>();
  const std::int64_t rank = queries.size(1);
  std::vector<float> scales;
  for (std::int64_t row = 0; row < queries.size(0); ++row, values += rank) {
    float largest = 0;
    for (std::int64_t i = 0; i < rank; ++i) largest = std::max(largest, std::abs(values[i]));
    scales.push_back(largest > 0 ? largest / static_cast<float>(kLargestCode) : 1.0F);
    for (std::int64_t i = 0; i < rank; ++i) values[i] = Round(values[i] / scales.back());
  }
  return scales;
}

// [n_heads, rows.size()] compressed logits of one probe's queries [n_heads, in_dim].
std::vector<float> CompressedLogits(const DigestMaps& shape,
                                    const LayerDigestMaps& maps,
                                    std::span<const float> queries,
                                    std::span<const float> digests,
                                    const RowRange& rows) {
  const std::int64_t n_heads = static_cast<std::int64_t>(queries.size()) / shape.in_dim;
  const std::int64_t group = n_heads / shape.n_groups;
  const std::int64_t stride = std::int64_t{1} * shape.n_groups * shape.rank;
  const std::int64_t n = rows.size();
  std::vector<float> logits(n_heads * n);
  for (std::int64_t g = 0; g < shape.n_groups; ++g) {
    const float* map = maps.query.data() + g * shape.rank * shape.in_dim;
    at::Tensor small =
        Matrix(queries.data() + g * group * shape.in_dim, group, shape.in_dim, shape.in_dim)
            .matmul(Matrix(map, shape.rank, shape.in_dim, shape.in_dim).t())
            .contiguous();
    const std::vector<float> scales = RoundQueries(small);
    float* out = logits.data() + g * group * n;
    const float* codes = digests.data() + rows.begin * stride + g * shape.rank;
    Products(small, Matrix(codes, n, shape.rank, stride), out);
    for (std::int64_t i = 0; i < group * n; ++i) out[i] *= scales[i / n];
  }
  return logits;
}

}  // namespace

ExactLayer::ExactLayer(const HeldOutText& text,
                       std::int32_t query_distance,
                       const LayerSample& sample)
    : text_(text), query_distance_(query_distance), sample_(sample) {
  MeasureNative();
  const ModelConfig& config = *text.config;
  const auto dim = static_cast<std::int32_t>(config.head_dim);
  const std::int64_t kv_size = config.kv_size();
  const std::int64_t group = config.group();
  const std::vector<float> far = FormQueries(
      config, DigestForm::kPerKvHead, RotationTo(text.table, dim, query_distance), sample);
  for (std::size_t i = 0; i < text.probes.size(); ++i) {
    Probe& probe = probes_.emplace_back();
    probe.middle = Partition(text.probes[i], text.sizes).middle;
    const std::int64_t n = probe.middle.size();
    probe.logits.resize(config.n_heads * n);
    probe.mass.resize(n);
    for (std::int64_t g = 0; g < config.n_kv_heads; ++g) {
      const std::int64_t head = g * group;
      float* logits = probe.logits.data() + head * n;
      Products(Matrix(far.data() + i * config.q_size() + head * dim, group, dim, dim),
               Matrix(sample.keys.data() + probe.middle.begin * kv_size + g * dim, n, dim, kv_size),
               logits);
      for (std::int64_t h = 0; h < group; ++h) {
        AddSoftmax(std::span(logits + h * n, n), FarScale(text), probe.mass);
      }
    }
  }
}

void ExactLayer::MeasureNative() {
  const ModelConfig& config = *text_.config;
  const auto dim = static_cast<std::int32_t>(config.head_dim);
  const std::int64_t group = config.group();
  const double scale = 1 / std::sqrt(static_cast<double>(dim));
  const std::vector<float> keys = RotatedKeys(text_, sample_);
  std::vector<float> queries(config.q_size());
  std::vector<float> logits;
  std::vector<double> attention;
  for (std::size_t i = 0; i < text_.probes.size(); ++i) {
    const std::int64_t n = text_.probes[i] + 1;
    const RowRange middle = Partition(text_.probes[i], text_.sizes).middle;
    const Rotation own = RotationTo(text_.table, dim, text_.probes[i]);
    for (std::int64_t at = 0; at < config.q_size(); at += dim) {
      RotateHead(own, sample_.queries.data() + i * config.q_size() + at, &queries[at]);
    }
    logits.resize(group * n);
    for (std::int64_t g = 0; g < config.n_kv_heads; ++g) {
      Products(Matrix(queries.data() + g * group * dim, group, dim, dim),
               Matrix(keys.data() + g * dim, n, dim, config.kv_size()),
               logits.data());
      for (std::int64_t h = 0; h < group; ++h) {
        attention.assign(n, 0);
        AddSoftmax(std::span(logits).subspan(h * n, n), scale, attention);
        const std::span shares(attention.data() + middle.begin, middle.size());
        needed_mass_ += std::accumulate(shares.begin(), shares.end(), 0.0);
        peak_ = std::max(peak_, *std::ranges::max_element(shares));
      }
    }
  }
  needed_mass_ /= static_cast<double>(text_.probes.size() * config.n_heads);
}

LayerQuality ExactLayer::Measure(const DigestMaps& shape, const LayerDigestMaps& maps) const {
  const ModelConfig& config = *text_.config;
  const bool vote = shape.form == DigestForm::kPerKvHead;
  const Rotation far =
      RotationTo(text_.table, static_cast<std::int32_t>(config.head_dim), query_distance_);
  const std::vector<float> queries = FormQueries(config, shape.form, far, sample_);
  const std::vector<float> digests = Digests(shape, maps, sample_);
  const std::int64_t n_heads = FormHeads(config, shape.form);
  const std::int64_t q_size = n_heads * shape.in_dim;
  LayerQuality quality;
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    const Probe& probe = probes_[i];
    const std::int64_t n = probe.middle.size();
    const std::vector<float> logits = CompressedLogits(
        shape, maps, std::span(queries).subspan(i * q_size, q_size), digests, probe.middle);
    std::vector<double> scores(n);
    std::vector<double> exact_scores = vote ? probe.mass : std::vector<double>(n);
    std::vector<float> exact = vote ? probe.logits : std::vector<float>(n);
    if (!vote) {
      for (std::size_t j = 0; j < probe.logits.size(); ++j) exact[j % n] += probe.logits[j];
      exact_scores.assign(exact.begin(), exact.end());
    }
    for (std::int64_t j = 0; j < n_heads * n; ++j) {
      error += std::pow(logits[j] - exact[j], 2);
      norm += std::pow(exact[j], 2);
    }
    for (std::int64_t h = 0; h < n_heads; ++h) {
      const std::span head(logits.data() + h * n, n);
      if (vote) AddSoftmax(head, FarScale(text_), scores);
      if (!vote) scores.assign(head.begin(), head.end());
    }
    const std::vector<std::int32_t> chosen = LargestRows(scores, text_.sizes.selected);
    const std::vector<std::int32_t> right = LargestRows(exact_scores, text_.sizes.selected);
    std::vector<std::int32_t> both;
    std::ranges::set_intersection(chosen, right, std::back_inserter(both));
    quality.overlap += static_cast<double>(both.size()) / static_cast<double>(right.size());
    quality.mass += SumOf(probe.mass, chosen) / SumOf(probe.mass, right);
  }
  const auto n_probes = static_cast<double>(probes_.size());
  quality.score_error = std::sqrt(error / norm);
  quality.overlap /= n_probes;
  quality.mass /= n_probes;
  quality.needed_mass = needed_mass_;
  quality.peak = peak_;
  return quality;
}

void DecideSelection(const std::vector<LayerQuality>& quality, DigestMaps& maps) {
  bool selects = false;
  for (std::size_t layer = 0; layer < quality.size(); ++layer) {
    selects = selects || quality[layer].peak >= kPeak;
    maps.layers[layer].selects = selects;
  }
}

}  // namespace keyhole
