// Sequences with random keys and values in KV pages, and attention over them written out in f64.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/ops/append_kv.h"
#include "engine/ops/attend_rows.h"
#include "engine/ops/store_row.h"
#include "tests/support/cpu_levels.h"

namespace keyhole {

inline float RoundTo(KvType type, float x) {
  if (type == KvType::kF32) return x;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
}

inline std::vector<float> RandomFloats(std::mt19937& random, std::size_t n, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> x(n);
  std::generate(x.begin(), x.end(), [&] { return normal(random); });
  return x;
}

// A store and one sequence of `n` random rows in pages of mixed order.
struct KvSequence {
  KvSequence(const KvLayout& layout, std::int32_t n, unsigned seed)
      : n_rows(n), pages(PagesForTokens(std::max(n, 1), layout.page_size)) {
    std::mt19937 random(seed);
    store = HostStore::Create(layout, static_cast<std::int32_t>(pages.size()) + 3).value();
    std::vector<PageId> all(store->n_pages());
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), random);
    std::copy_n(all.begin(), pages.size(), pages.begin());
    k = RandomFloats(random, n * layout.kv_size());
    v = RandomFloats(random, n * layout.kv_size());
    Append();
  }

  // Stores k and v, which become what was stored.
  void Append() {
    Device device(1);
    const AppendKvParams params[] = {{store.get(), 0, pages, 0, n_rows, k.data(), v.data()}};
    AppendKv(device, params);
    for (std::int32_t row = 0; row < n_rows; ++row) Round(row);
  }

  // AppendKv's own test shows that int8 codes are the nearest ones.
  void Round(std::int32_t row) {
    const KvLayout& layout = store->layout();
    const std::size_t n = layout.kv_size();
    float* key = k.data() + row * n;
    float* value = v.data() + row * n;
    if (layout.type == KvType::kInt8) {
      const std::byte* at = store->LayerRows(pages[row / layout.page_size], 0) +
                            row % layout.page_size * layout.row_bytes();
      LoadHeads(layout, at, key);
      LoadHeads(layout, at + layout.key_bytes(), value);
      return;
    }
    for (std::size_t i = 0; i < n; ++i) {
      key[i] = RoundTo(layout.type, key[i]);
      value[i] = RoundTo(layout.type, value[i]);
    }
  }

  std::int32_t n_rows;
  std::vector<PageId> pages;
  std::unique_ptr<HostStore> store;
  std::vector<float> k;  // [n_rows, n_kv_heads, head_dim], as the store rounded them
  std::vector<float> v;
};

// The rows of `part` that query i sees, written out.
inline std::vector<std::int32_t> RowsSeen(const AttendPart& part, std::int32_t i) {
  if (!part.rows.empty()) return {part.rows.begin(), part.rows.end()};
  std::vector<std::int32_t> rows;
  for (std::int32_t row = part.range.begin; row < part.range.end; ++row) {
    if (part.causal_from < 0 || row <= part.causal_from + i) rows.push_back(row);
  }
  return rows;
}

// One head of one query: softmax over all parts, in f64. `k_of` gives the key of a row in a part.
template <typename KeyOf>
std::vector<double> ReferenceHead(const AttendParams& params,
                                  const KvSequence& kv,
                                  std::int32_t query,
                                  std::int32_t head,
                                  const KeyOf& k_of) {
  const KvLayout& layout = params.store->layout();
  const std::int32_t d = layout.head_dim;
  const std::int32_t kv_head = head / (params.n_heads / layout.n_kv_heads);
  std::vector<double> scores;
  std::vector<const float*> values;
  for (const AttendPart& part : params.parts) {
    const float* q =
        part.queries + (static_cast<std::ptrdiff_t>(query) * params.n_heads + head) * d;
    for (const std::int32_t row : RowsSeen(part, query)) {
      const float* key = k_of(part, row) + kv_head * d;
      double dot = 0;
      for (std::int32_t c = 0; c < d; ++c) dot += static_cast<double>(q[c]) * key[c];
      scores.push_back(dot * params.softmax_scale * part.scale +
                       (part.bias == nullptr ? 0 : part.bias[query]));
      values.push_back(kv.v.data() + row * layout.kv_size() + kv_head * d);
    }
  }
  std::vector<double> out(d, 0.0);
  if (scores.empty()) return out;
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i] - top);
    sum += weight;
    for (std::int32_t c = 0; c < d; ++c) out[c] += weight * values[i][c];
  }
  for (double& x : out) x /= sum;
  return out;
}

// Largest |out - reference| over all queries and heads.
inline double LargestError(const AttendParams& params, const KvSequence& kv) {
  const KvLayout& layout = params.store->layout();
  const auto in_pages = [&](const AttendPart&, std::int32_t row) {
    return kv.k.data() + row * layout.kv_size();
  };
  double largest = 0;
  const float* out = params.out;
  for (std::int32_t query = 0; query < params.q_len; ++query) {
    for (std::int32_t head = 0; head < params.n_heads; ++head) {
      for (const double x : ReferenceHead(params, kv, query, head, in_pages)) {
        const double error = std::fabs(*out++ - x);
        largest =
            std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(largest, error);
      }
    }
  }
  return largest;
}

}  // namespace keyhole
