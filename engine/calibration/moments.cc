#include "engine/calibration/moments.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "engine/calibration/tensor_tasks.h"

namespace keyhole {
namespace {

constexpr std::int32_t kBlock = 64;  // rows of a moment that one task adds to

FormMoments Zeros(std::int32_t n_groups, std::int32_t dim) {
  FormMoments moments;
  moments.n_groups = n_groups;
  moments.dim = dim;
  moments.query.resize(std::size_t{1} * n_groups * dim * dim);
  moments.key.resize(moments.query.size());
  return moments;
}

FormMoments Scaled(const FormMoments& sums, double factor) {
  FormMoments means = sums;
  for (double& value : means.query) value *= factor;
  for (double& value : means.key) value *= factor;
  return means;
}

}  // namespace

// sum [dim, dim] += the sum of x^T x over `repeats` matrices x [n_tokens, dim], `dim` columns apart
// in rows of `stride`.
struct MomentRecorder::Gram {
  double* x = nullptr;
  std::int64_t stride = 0;
  std::int32_t dim = 0;
  std::int32_t repeats = 1;
  double* sum = nullptr;
};

std::size_t MomentBytes(const ModelConfig& config, bool concatenated) {
  const std::size_t n_groups = concatenated ? 1 : config.n_kv_heads;
  const std::size_t dim = concatenated ? config.kv_size() : config.head_dim;
  return 2 * sizeof(double) * config.n_layers * n_groups * dim * dim;
}

MomentRecorder::MomentRecorder(const ModelConfig& config, const Rotation& to, bool concatenated)
    : n_heads_(static_cast<std::int32_t>(config.n_heads)),
      n_kv_heads_(static_cast<std::int32_t>(config.n_kv_heads)),
      head_dim_(static_cast<std::int32_t>(config.head_dim)),
      to_(to),
      sums_(config.n_layers),
      n_tokens_(config.n_layers) {
  for (LayerMoments& layer : sums_) {
    layer.per_kv_head = Zeros(n_kv_heads_, head_dim_);
    if (concatenated) layer.concatenated = Zeros(1, n_kv_heads_ * head_dim_);
  }
}

void MomentRecorder::AddAll(Device& device,
                            std::int64_t n_tokens,
                            const std::vector<Gram>& grams) const {
  struct Task {
    const Gram* gram;
    std::int32_t begin;
  };
  std::vector<Task> tasks;
  for (const Gram& gram : grams) {
    for (std::int32_t row = 0; row < gram.dim; row += kBlock) tasks.push_back({&gram, row});
  }
  ParallelTensorTasks(device, static_cast<std::int64_t>(tasks.size()), [&](std::int64_t i) {
    const Gram& gram = *tasks[i].gram;
    const std::int64_t begin = tasks[i].begin;
    const std::int64_t size = std::min<std::int64_t>(kBlock, gram.dim - begin);
    at::Tensor sum = at::from_blob(gram.sum + begin * gram.dim, {size, gram.dim}, at::kDouble);
    for (std::int32_t repeat = 0; repeat < gram.repeats; ++repeat) {
      const at::Tensor x = at::from_blob(gram.x + std::int64_t{1} * repeat * gram.dim,
                                         {n_tokens, gram.dim},
                                         {gram.stride, 1},
                                         at::kDouble);
      sum.addmm_(x.narrow(1, begin, size).t(), x);
    }
  });
}

void MomentRecorder::OnQueries(Device& device, const ActivationRows& queries) {
  const std::int32_t group = n_heads_ / n_kv_heads_;
  const std::int64_t q_size = std::int64_t{1} * n_heads_ * head_dim_;
  const std::int64_t kv_size = std::int64_t{1} * n_kv_heads_ * head_dim_;
  rows_.resize(queries.n_tokens * q_size);
  summed_.assign(queries.n_tokens * kv_size, 0);
  device.pool().ParallelFor(queries.n_tokens, [&](std::int64_t token) {
    for (std::int32_t head = 0; head < n_heads_; ++head) {
      const std::int64_t at = token * q_size + std::int64_t{1} * head * head_dim_;
      RotateHead(to_, queries.rows + at, rows_.data() + at);
      double* sum = summed_.data() + token * kv_size + std::int64_t{1} * head / group * head_dim_;
      for (std::int32_t i = 0; i < head_dim_; ++i) sum[i] += rows_[at + i];
    }
  });
  LayerMoments& layer = sums_[queries.layer];
  std::vector<Gram> grams;
  for (std::int32_t g = 0; g < n_kv_heads_; ++g) {
    const std::int64_t column = std::int64_t{1} * g * group * head_dim_;
    double* sum = layer.per_kv_head.query.data() + std::int64_t{1} * g * head_dim_ * head_dim_;
    grams.push_back({rows_.data() + column, q_size, head_dim_, group, sum});
  }
  if (layer.concatenated.n_groups > 0) {
    grams.push_back(
        {summed_.data(), kv_size, layer.concatenated.dim, 1, layer.concatenated.query.data()});
  }
  AddAll(device, queries.n_tokens, grams);
  n_tokens_[queries.layer] += queries.n_tokens;
}

void MomentRecorder::OnKeys(Device& device, const ActivationRows& keys) {
  const std::int64_t kv_size = std::int64_t{1} * n_kv_heads_ * head_dim_;
  rows_.assign(keys.rows, keys.rows + keys.n_tokens * kv_size);
  LayerMoments& layer = sums_[keys.layer];
  std::vector<Gram> grams;
  for (std::int32_t g = 0; g < n_kv_heads_; ++g) {
    double* sum = layer.per_kv_head.key.data() + std::int64_t{1} * g * head_dim_ * head_dim_;
    grams.push_back({rows_.data() + std::int64_t{1} * g * head_dim_, kv_size, head_dim_, 1, sum});
  }
  if (layer.concatenated.n_groups > 0) {
    grams.push_back(
        {rows_.data(), kv_size, layer.concatenated.dim, 1, layer.concatenated.key.data()});
  }
  AddAll(device, keys.n_tokens, grams);
}

LayerMoments MomentRecorder::Layer(std::int32_t layer) const {
  const std::int64_t n = std::max<std::int64_t>(1, n_tokens_[layer]);
  const double each = 1 / static_cast<double>(n);
  const double pooled = each * n_kv_heads_ / n_heads_;
  LayerMoments means;
  means.per_kv_head = Scaled(sums_[layer].per_kv_head, each);
  means.concatenated = Scaled(sums_[layer].concatenated, each);
  for (double& value : means.per_kv_head.query) value *= pooled / each;
  return means;
}

}  // namespace keyhole
