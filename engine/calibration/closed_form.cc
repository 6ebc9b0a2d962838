#include "engine/calibration/closed_form.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_svd.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstring>
#include <tuple>

namespace keyhole {
namespace {

constexpr double kRidge = 1e-7;

// `values` are only read.
at::Tensor View(const std::vector<double>& values, std::initializer_list<std::int64_t> shape) {
  return at::from_blob(const_cast<double*>(values.data()), shape, at::kDouble);
}

struct Roots {
  at::Tensor root;     // symmetric square root
  at::Tensor inverse;  // of it
};

Roots SquareRoots(const at::Tensor& moment) {
  const auto [values, vectors] = at::linalg_eigh(moment, "L");
  // A matrix of zeros has no direction to prefer: any lift will do.
  const double largest = values.max().item().toDouble();
  const at::Tensor lengths = values.clamp_min(largest > 0 ? largest * kRidge : 1).sqrt();
  return {vectors.mul(lengths).matmul(vectors.t()), vectors.div(lengths).matmul(vectors.t())};
}

// Makes the largest entry of each row of `query` positive, with `key` turned along.
void FixSigns(std::int64_t dim, std::span<double> query, std::span<double> key) {
  for (std::size_t row = 0; row < query.size(); row += dim) {
    double largest = 0;
    for (std::int64_t i = 0; i < dim; ++i) {
      if (std::abs(query[row + i]) > std::abs(largest)) largest = query[row + i];
    }
    if (largest >= 0) continue;
    for (std::int64_t i = 0; i < dim; ++i) {
      query[row + i] = -query[row + i];
      key[row + i] = -key[row + i];
    }
  }
}

}  // namespace

FactorMaps ClosedForm(const FormMoments& moments, std::int32_t rank) {
  const c10::InferenceMode no_gradients;
  const std::int64_t dim = moments.dim;
  FactorMaps maps;
  maps.n_groups = moments.n_groups;
  maps.rank = rank;
  maps.dim = moments.dim;
  const std::int64_t size = rank * dim;
  maps.query.resize(moments.n_groups * size);
  maps.key.resize(moments.n_groups * size);
  for (std::int32_t group = 0; group < moments.n_groups; ++group) {
    const Roots query = SquareRoots(View(moments.query, {moments.n_groups, dim, dim})[group]);
    const Roots key = SquareRoots(View(moments.key, {moments.n_groups, dim, dim})[group]);
    const auto [u, s, vh] = at::linalg_svd(query.root.matmul(key.root), false);
    const at::Tensor root = s.narrow(0, 0, rank).sqrt().unsqueeze(1);
    const at::Tensor w_q = u.t().narrow(0, 0, rank).mul(root).matmul(query.inverse).contiguous();
    const at::Tensor w_k = vh.narrow(0, 0, rank).mul(root).matmul(key.inverse).contiguous();
    const std::span to_query(maps.query.data() + group * size, size);
    const std::span to_key(maps.key.data() + group * size, size);
    std::memcpy(to_query.data(), w_q.const_data_ptr<double>(), to_query.size_bytes());
    std::memcpy(to_key.data(), w_k.const_data_ptr<double>(), to_key.size_bytes());
    FixSigns(dim, to_query, to_key);
  }
  return maps;
}

std::vector<double> ExpectedError(const FormMoments& moments, const FactorMaps& maps) {
  const c10::InferenceMode no_gradients;
  const std::int64_t dim = moments.dim;
  std::vector<double> errors;
  for (std::int32_t group = 0; group < moments.n_groups; ++group) {
    const at::Tensor w_q = View(maps.query, {maps.n_groups, maps.rank, dim})[group];
    const at::Tensor w_k = View(maps.key, {maps.n_groups, maps.rank, dim})[group];
    // q.k - q' . k' = q^T M k with M = I - W_q^T W_k.
    at::Tensor m = w_q.t().matmul(w_k).neg();
    m.diagonal().add_(1);
    const at::Tensor c_q = View(moments.query, {moments.n_groups, dim, dim})[group];
    const at::Tensor c_k = View(moments.key, {moments.n_groups, dim, dim})[group];
    errors.push_back(c_q.matmul(m).mul(m.matmul(c_k)).sum().item().toDouble());
  }
  return errors;
}

}  // namespace keyhole
