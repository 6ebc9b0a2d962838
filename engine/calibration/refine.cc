#include "engine/calibration/refine.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/sampling/philox.h"

namespace keyhole {
namespace {

// Adam's own constants (arXiv 1412.6980).
constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

at::Tensor Rows(std::span<const float> values, std::int64_t dim) {
  const std::int64_t n = static_cast<std::int64_t>(values.size()) / dim;
  return at::from_blob(const_cast<float*>(values.data()), {n, dim}, at::kFloat);
}

double RootMeanSquare(const at::Tensor& x) {
  return std::sqrt(x.square().mean().item().toDouble());
}

class Parameter {
 public:
  explicit Parameter(at::Tensor value)
      : value_(std::move(value)), first_(value_.clone().zero_()), second_(first_.clone()) {}

  const at::Tensor& value() const { return value_; }

  void Step(const at::Tensor& gradient, double learning_rate, std::int64_t step) {
    first_.mul_(kBeta1).add_(gradient, 1 - kBeta1);
    second_.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
    const double bias1 = 1 - std::pow(kBeta1, static_cast<double>(step));
    const double bias2 = 1 - std::pow(kBeta2, static_cast<double>(step));
    const at::Tensor root = second_.div(bias2).sqrt_().add_(kEpsilon);
    value_.addcdiv_(first_, root, -learning_rate / bias1);
  }

 private:
  at::Tensor value_;
  at::Tensor first_;
  at::Tensor second_;
};

// Random pairs: each query once in an epoch, keys drawn.
class Pairs {
 public:
  Pairs(std::int64_t n_queries, std::int64_t n_keys, std::uint64_t seed)
      : order_(n_queries), n_keys_(n_keys), seed_(seed) {
    for (std::int64_t i = 0; i < n_queries; ++i) order_[i] = i;
  }

  void Shuffle() {
    for (std::int64_t i = static_cast<std::int64_t>(order_.size()) - 1; i > 0; --i) {
      std::swap(order_[i], order_[Draw(i + 1)]);
    }
  }

  at::Tensor Queries(std::int64_t begin, std::int64_t count) {
    return at::from_blob(order_.data() + begin, {count}, at::kLong);
  }

  at::Tensor Keys(std::int64_t count) {
    keys_.resize(count);
    for (std::int64_t& key : keys_) key = Draw(n_keys_);
    return at::from_blob(keys_.data(), {count}, at::kLong);
  }

 private:
  std::int64_t Draw(std::int64_t below) {
    return static_cast<std::int64_t>(UniformAt(seed_, position_++) * static_cast<double>(below));
  }

  std::vector<std::int64_t> order_;
  std::vector<std::int64_t> keys_;
  std::int64_t n_keys_;
  std::uint64_t seed_;
  std::uint64_t position_ = 0;
};

struct Maps {
  Parameter query;
  Parameter key;

  // The gradients of the mean of the squared error over a batch, and a step against them.
  void Step(const at::Tensor& q, const at::Tensor& k, double learning_rate, std::int64_t step) {
    const at::Tensor small_q = q.matmul(query.value().t());
    const at::Tensor small_k = k.matmul(key.value().t());
    const at::Tensor error = small_q.mul(small_k).sum(1).sub(q.mul(k).sum(1));
    const at::Tensor weight = error.mul(2.0 / static_cast<double>(q.size(0))).unsqueeze(1);
    const at::Tensor query_gradient = small_k.mul(weight).t().matmul(q);
    const at::Tensor key_gradient = small_q.mul(weight).t().matmul(k);
    query.Step(query_gradient, learning_rate, step);
    key.Step(key_gradient, learning_rate, step);
  }

  // Over all pairs, from the second moments of the rows.
  double RelativeError(const at::Tensor& c_q, const at::Tensor& c_k) const {
    at::Tensor m = query.value().t().matmul(key.value()).neg().to(at::kDouble);
    m.diagonal().add_(1);
    const double error = c_q.matmul(m).mul(m.matmul(c_k)).sum().item().toDouble();
    return std::sqrt(std::max(0.0, error) / c_q.mul(c_k).sum().item().toDouble());
  }
};

void Train(const at::Tensor& q, const at::Tensor& k, const RefineSettings& settings, Maps& maps) {
  Pairs pairs(q.size(0), k.size(0), settings.seed);
  const std::int64_t n_pairs = std::min(q.size(0), settings.max_pairs);
  std::int64_t step = 0;
  for (std::int32_t epoch = 0; epoch < settings.epochs; ++epoch) {
    pairs.Shuffle();
    for (std::int64_t begin = 0; begin < n_pairs; begin += settings.batch) {
      const std::int64_t count = std::min(settings.batch, n_pairs - begin);
      maps.Step(q.index_select(0, pairs.Queries(begin, count)),
                k.index_select(0, pairs.Keys(count)),
                settings.learning_rate,
                ++step);
    }
  }
}

at::Tensor Moment(const at::Tensor& rows) {
  const at::Tensor x = rows.to(at::kDouble);
  return x.t().matmul(x).div_(static_cast<double>(rows.size(0)));
}

}  // namespace

RefineErrors Refine(const RefineRows& rows,
                    const RefineSettings& settings,
                    std::int32_t group,
                    FactorMaps& maps) {
  const std::int64_t size = std::int64_t{1} * maps.rank * maps.dim;
  const auto view = [&](std::vector<double>& all) {
    return at::from_blob(all.data() + group * size, {maps.rank, maps.dim}, at::kDouble);
  };
  at::Tensor all_q = Rows(rows.queries, maps.dim);
  at::Tensor all_k = Rows(rows.keys, maps.dim);
  const double q_size = RootMeanSquare(all_q);
  const double k_size = RootMeanSquare(all_k);
  if (!(q_size > 0) || !(k_size > 0)) return {};
  const at::Tensor q = all_q.div(q_size);
  const at::Tensor k = all_k.div(k_size);
  // Shrunk rows shrink both products alike; a factor may move from one map to the other.
  const double balance = std::sqrt(q_size / k_size);
  Maps trained = {Parameter(view(maps.query).mul(balance).to(at::kFloat)),
                  Parameter(view(maps.key).div(balance).to(at::kFloat))};
  const at::Tensor c_q = Moment(q);
  const at::Tensor c_k = Moment(k);
  RefineErrors errors;
  errors.before = trained.RelativeError(c_q, c_k);
  Train(q, k, settings, trained);
  errors.after = trained.RelativeError(c_q, c_k);
  if (!(errors.after < errors.before)) {
    errors.after = errors.before;
    return errors;
  }
  view(maps.query).copy_(trained.query.value()).div_(balance);
  view(maps.key).copy_(trained.key.value()).mul_(balance);
  return errors;
}

}  // namespace keyhole
