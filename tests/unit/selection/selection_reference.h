// The formulas of selection in f64, written out: probes, compression, vote and shift, pool.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/selection/digest_maps.h"
#include "tests/support/policy_harness.h"

namespace keyhole {

using Vector = std::vector<double>;

enum class ReferenceRule { kVote, kShiftOfSum, kShiftOfHeads };

// Rotates [heads, kHeadDim] by `sign` times the angles of `position`.
inline Vector Rotated(const Vector& x, std::int32_t position) {
  constexpr std::int32_t kHalf = PolicyHarness::kHeadDim / 2;
  Vector out = x;
  for (std::size_t head = 0; head < x.size(); head += 2 * kHalf) {
    for (std::int32_t c = 0; c < kHalf; ++c) {
      const double angle = position * std::pow(10000.0, -1.0 * c / kHalf);
      out[head + c] = x[head + c] * std::cos(angle) - x[head + c + kHalf] * std::sin(angle);
      out[head + c + kHalf] = x[head + c + kHalf] * std::cos(angle) + x[head + c] * std::sin(angle);
    }
  }
  return out;
}

// [n][kHeads * kHeadDim], turned to the scoring distance: at most `n_probes` means of equally many
// queries. 0, or a chunk of few queries: each query.
inline std::vector<Vector> ReferenceProbes(const PolicyCase& c, std::int32_t n_probes) {
  const bool single = n_probes == 0 || c.q_len <= PolicyHarness::kSingleQueries;
  const int span = single ? 1 : static_cast<int>(std::ceil(1.0 * c.q_len / n_probes));
  constexpr std::size_t kSize = PolicyHarness::kHeads * PolicyHarness::kHeadDim;
  std::vector<Vector> probes;
  for (std::int32_t begin = 0; begin < c.q_len; begin += span) {
    const std::int32_t end = std::min(begin + span, c.q_len);
    Vector mean(kSize);
    for (std::int32_t i = begin; i < end; ++i) {
      for (std::size_t k = 0; k < kSize; ++k) mean[k] += c.queries[i * kSize + k] / (end - begin);
    }
    probes.push_back(Rotated(mean, PolicyHarness::kDistance));
  }
  return probes;
}

inline Vector Mapped(const std::vector<float>& map, std::int32_t group, const Vector& x) {
  const auto rank = static_cast<std::size_t>(PolicyHarness::kRank);
  Vector out(rank);
  for (std::size_t r = 0; r < rank; ++r) {
    for (std::size_t k = 0; k < x.size(); ++k) {
      out[r] += map[(group * rank + r) * x.size() + k] * x[k];
    }
  }
  return out;
}

inline Vector KeyCodes(const Vector& mapped) {
  Vector codes;
  for (const double v : mapped) codes.push_back(std::clamp(std::nearbyint(v), -127.0, 127.0));
  return codes;
}

inline Vector QueryCodes(Vector mapped) {  // with their scale multiplied back
  double top = 0;
  for (const double v : mapped) top = std::max(top, std::abs(v));
  for (double& v : mapped) v = std::nearbyint(v * 127 / top) * top / 127;
  return mapped;
}

inline double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline Vector Head(const Vector& x, std::int32_t head) {
  const auto begin = x.begin() + head * PolicyHarness::kHeadDim;
  return {begin, begin + PolicyHarness::kHeadDim};
}

inline Vector KeyAt(RequestId id, std::int32_t row) {
  const std::vector<float> key = PolicyHarness::Key(id, row);
  return {key.begin(), key.end()};
}

// Logits [heads][n] of one probe. Null maps: whole keys. A rule that sums has one head.
inline std::vector<Vector> ReferenceLogits(const PolicyCase& c,
                                           RowRange rows,
                                           const Vector& probe,
                                           const DigestMaps* maps,
                                           ReferenceRule rule) {
  constexpr std::int32_t kGroup = PolicyHarness::kHeads / PolicyHarness::kKvHeads;
  const double scale = 1 / std::sqrt(static_cast<double>(PolicyHarness::kHeadDim));
  const bool sum = rule == ReferenceRule::kShiftOfSum;
  std::vector<Vector> queries;
  if (sum) {
    Vector joined;
    for (std::int32_t g = 0; g < PolicyHarness::kKvHeads; ++g) {
      for (std::int32_t k = 0; k < PolicyHarness::kHeadDim; ++k) {
        double total = 0;
        for (std::int32_t h = 0; h < kGroup; ++h) total += Head(probe, g * kGroup + h)[k];
        joined.push_back(total);
      }
    }
    queries.push_back(QueryCodes(Mapped(maps->layers[0].query, 0, joined)));
  } else {
    for (std::int32_t h = 0; h < PolicyHarness::kHeads; ++h) {
      const Vector q = Head(probe, h);
      queries.push_back(maps == nullptr ? q
                                        : QueryCodes(Mapped(maps->layers[0].query, h / kGroup, q)));
    }
  }
  std::vector<Vector> logits(queries.size());
  for (std::int32_t row = rows.begin; row < rows.end; ++row) {
    const Vector key = KeyAt(c.id, row);
    for (std::size_t h = 0; h < queries.size(); ++h) {
      Vector k = sum ? key : Head(key, static_cast<std::int32_t>(h) / kGroup);
      if (maps != nullptr) {
        k = KeyCodes(Mapped(maps->layers[0].key, sum ? 0 : static_cast<int>(h) / kGroup, k));
      }
      logits[h].push_back(scale * Dot(queries[h], k));
    }
  }
  return logits;
}

// Importance of each row of the middle, before the pool.
inline Vector ReferenceScores(const PolicyCase& c,
                              RowRange rows,
                              std::int32_t n_probes,
                              const DigestMaps* maps,
                              ReferenceRule rule) {
  const bool vote = rule == ReferenceRule::kVote;
  Vector scores(rows.size(), vote ? 0 : -INFINITY);
  for (const Vector& probe : ReferenceProbes(c, n_probes)) {
    Vector of_probe(rows.size(), vote ? 0 : -INFINITY);
    for (const Vector& logits : ReferenceLogits(c, rows, probe, maps, rule)) {
      const double top = *std::max_element(logits.begin(), logits.end());
      double sum = 0;
      for (const double l : logits) sum += std::exp(l - top);
      for (std::size_t j = 0; j < logits.size(); ++j) {
        of_probe[j] = vote ? of_probe[j] + std::exp(logits[j] - top) / sum
                           : std::max(of_probe[j], logits[j] - top);
      }
    }
    for (std::size_t j = 0; j < scores.size(); ++j) scores[j] = std::max(scores[j], of_probe[j]);
  }
  return scores;
}

inline Vector Pooled(const Vector& scores, std::int32_t eps) {
  Vector out;
  for (std::int32_t j = 0; j < std::ssize(scores); ++j) {
    const auto begin = scores.begin() + std::max(0, j - eps);
    const auto end = scores.begin() + std::min<std::ptrdiff_t>(std::ssize(scores), j + eps + 1);
    out.push_back(*std::max_element(begin, end));
  }
  return out;
}

}  // namespace keyhole
