// Attention written out in f64 from the formulas, for one query head at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/device/cpu_features.h"
#include "tests/unit/attention/attention_harness.h"
#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {

// RoPE with base 10000, half-split pairs.
inline std::vector<double> Rotated(const std::vector<double>& x, double position) {
  const std::size_t half = x.size() / 2;
  std::vector<double> out(x.size());
  for (std::size_t i = 0; i < half; ++i) {
    const double angle = position * std::pow(10000.0, -static_cast<double>(i) / half);
    out[i] = x[i] * std::cos(angle) - x[i + half] * std::sin(angle);
    out[i + half] = x[i + half] * std::cos(angle) + x[i] * std::sin(angle);
  }
  return out;
}

// One key that a query sees: where both are turned to, and what is added to the scaled logit.
struct SeenRow {
  std::int32_t row = 0;
  double key_position = 0;
  double query_position = 0;
  double bias = 0;
  double scale = 1;      // of the logit, before the bias
  double key_scale = 1;  // of the rotated key, before it is rounded
  bool rounded = false;  // the key was rounded before it was rotated
};

// The output [n_heads, head_dim] of query `i` of the sequence's last step, which sees `rows`.
// Keys are rounded to `rounding` after rotation, values as they are.
inline std::vector<double> ReferenceQuery(const AttentionShape& shape,
                                          const TestSequence& sequence,
                                          std::int32_t i,
                                          const std::vector<SeenRow>& rows,
                                          KvType rounding) {
  const std::int64_t d = shape.head_dim;
  const auto vector_at = [d](const std::vector<float>& x, std::int64_t first) {
    return std::vector<double>(x.begin() + first, x.begin() + first + d);
  };
  std::vector<double> out;
  for (std::int64_t head = 0; head < shape.n_kv_heads * shape.group; ++head) {
    const std::int64_t kv_first = head / shape.group * d;
    const std::vector<double> q = vector_at(sequence.q, i * shape.q_size() + head * d);
    std::vector<double> logits;
    for (const SeenRow& seen : rows) {
      const std::vector<double> query = Rotated(q, seen.query_position);
      std::vector<double> key = vector_at(sequence.k, seen.row * shape.kv_size() + kv_first);
      if (seen.rounded) {
        for (double& x : key) x = RoundTo(rounding, static_cast<float>(x));
      }
      key = Rotated(key, seen.key_position);
      double dot = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        dot += query[c] * RoundTo(rounding, static_cast<float>(key[c] * seen.key_scale));
      }
      logits.push_back(dot * seen.scale / std::sqrt(static_cast<double>(d)) + seen.bias);
    }
    const double top = *std::max_element(logits.begin(), logits.end());
    std::vector<double> sums(d, 0.0);
    double total = 0;
    for (std::size_t j = 0; j < rows.size(); ++j) {
      const double weight = std::exp(logits[j] - top);
      total += weight;
      for (std::int64_t c = 0; c < d; ++c) {
        const float value = sequence.v[rows[j].row * shape.kv_size() + kv_first + c];
        sums[c] += weight * RoundTo(rounding, value);
      }
    }
    for (const double sum : sums) out.push_back(sum / total);
  }
  return out;
}

// How far LargestStepError may go with bf16 rows: `widened` where they are multiplied as f32,
// `products` where queries and weights are rounded as well, to bf16 or to integers.
inline double Bf16StepBound(double widened, double products) {
  const CpuLevel level = DetectCpuLevel();
  return level == CpuLevel::kAvx2 || level >= CpuLevel::kAvx512Bf16 ? products : widened;
}

// Largest |out - reference| over the queries of the last step; rows_of(i) are what query i sees.
template <typename RowsOf>
double LargestStepError(const AttentionShape& shape,
                        const TestSequence& sequence,
                        const RowsOf& rows_of,
                        KvType rounding = KvType::kF32) {
  const auto q_len = static_cast<std::int32_t>(sequence.out.size() / shape.q_size());
  double largest = 0;
  for (std::int32_t i = 0; i < q_len; ++i) {
    const std::vector<double> expected = ReferenceQuery(shape, sequence, i, rows_of(i), rounding);
    for (std::int64_t c = 0; c < shape.q_size(); ++c) {
      const double error = std::fabs(sequence.out[i * shape.q_size() + c] - expected[c]);
      largest = std::isnan(error) ? HUGE_VAL : std::max(largest, error);
    }
  }
  return largest;
}

}  // namespace keyhole
