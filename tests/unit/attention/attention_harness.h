// Sequences that step through SelectiveAttention with random projections, which depend on the
// sequence and the position alone.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "engine/attention/selective_attention.h"

namespace keyhole {

struct AttentionShape {
  std::int64_t n_kv_heads = 2;
  std::int64_t group = 3;
  std::int64_t head_dim = 16;
  double attention_factor = 1;  // of YaRN

  std::int64_t q_size() const { return n_kv_heads * group * head_dim; }
  std::int64_t kv_size() const { return n_kv_heads * head_dim; }
};

// One sequence and everything it has projected so far, un-rotated.
struct TestSequence {
  RequestId id = 0;
  std::vector<PageId> pages;
  std::int32_t past = 0;
  std::vector<float> q;  // of the last step [q_len, n_heads, head_dim]
  std::vector<float> k;  // [past, n_kv_heads, head_dim]
  std::vector<float> v;
  std::vector<float> out;  // of the last step
  Request request;
  std::int32_t prompt_len = 0;
};

class AttentionHarness {
 public:
  AttentionHarness(const AttentionShape& shape,
                   KvType type,
                   const AttentionSettings& settings,
                   std::unique_ptr<SelectionPolicy> policy,
                   int n_threads = 2)
      : shape_(shape), device_(n_threads) {
    config_.n_layers = 1;
    config_.n_heads = shape.n_kv_heads * shape.group;
    config_.n_kv_heads = shape.n_kv_heads;
    config_.head_dim = shape.head_dim;
    config_.trained_length = kPositions;
    MakeAngles();
    store_ = HostStore::Create({.n_layers = 1,
                                .n_kv_heads = static_cast<std::int32_t>(shape.n_kv_heads),
                                .head_dim = static_cast<std::int32_t>(shape.head_dim),
                                .page_size = kPageSize,
                                .type = type},
                               kPages)
                 .value();
    attention_ = std::make_unique<SelectiveAttention>(
        config_,
        settings,
        RopeRows{cos_.data(), sin_.data(), static_cast<float>(shape.attention_factor)},
        store_.get(),
        std::move(policy));
  }

  // Room for `n` tokens; pages are handed out from the end.
  TestSequence MakeSequence(RequestId id, std::int32_t n) {
    TestSequence sequence;
    sequence.id = id;
    for (std::int32_t i = 0; i < PagesForTokens(n, kPageSize); ++i) {
      sequence.pages.push_back(--next_page_);
    }
    return sequence;
  }

  // One step: each sequence gets so many new tokens.
  StepResult Step(const std::vector<std::pair<TestSequence*, std::int32_t>>& work) {
    ModelInput input;
    for (const auto& [sequence, q_len] : work) AddSlice(*sequence, q_len, input);
    const auto n = static_cast<std::int64_t>(input.positions.size());
    const auto heads = [&](std::int64_t n_heads) {
      return at::empty({n, n_heads, shape_.head_dim}, at::TensorOptions().dtype(at::kFloat));
    };
    at::Tensor q = heads(config_.n_heads);
    at::Tensor k = heads(config_.n_kv_heads);
    at::Tensor v = heads(config_.n_kv_heads);
    at::Tensor out = at::empty({n, shape_.q_size()}, q.options());
    StepResult result;
    result.sequences.resize(work.size());
    std::int64_t row = 0;
    for (const auto& [sequence, q_len] : work) {
      std::copy(sequence->q.begin(),
                sequence->q.end(),
                q.mutable_data_ptr<float>() + row * shape_.q_size());
      for (const auto& [all, tensor] : {std::pair{&sequence->k, &k}, {&sequence->v, &v}}) {
        std::copy(all->begin() + sequence->past * shape_.kv_size(),
                  all->end(),
                  tensor->mutable_data_ptr<float>() + row * shape_.kv_size());
      }
      row += q_len;
    }
    attention_->Run(device_, 0, input, {&q, &k, &v, &out}, result);
    const float* rows = out.const_data_ptr<float>();
    for (const auto& [sequence, q_len] : work) {
      sequence->out.assign(rows, rows + q_len * shape_.q_size());
      rows += q_len * shape_.q_size();
      sequence->past += q_len;
    }
    return result;
  }

  // A step of one sequence; its output.
  const std::vector<float>& Step(TestSequence& sequence, std::int32_t q_len) {
    Step({{&sequence, q_len}});
    return sequence.out;
  }

  SelectiveAttention& attention() { return *attention_; }
  const AttentionShape& shape() const { return shape_; }
  const HostStore& store() const { return *store_; }

 private:
  static constexpr std::int32_t kPageSize = 16;
  static constexpr std::int32_t kPages = 400;
  static constexpr std::int32_t kPositions = 512;

  // Base 10000.
  void MakeAngles() {
    const std::int64_t half = shape_.head_dim / 2;
    for (std::int32_t position = 0; position < kPositions; ++position) {
      for (std::int64_t c = 0; c < half; ++c) {
        const double angle = position * std::pow(10000.0, -static_cast<double>(c) / half);
        cos_.push_back(static_cast<float>(shape_.attention_factor * std::cos(angle)));
        sin_.push_back(static_cast<float>(shape_.attention_factor * std::sin(angle)));
      }
    }
  }

  void AddSlice(TestSequence& sequence, std::int32_t q_len, ModelInput& input) {
    sequence.q.clear();
    for (std::int32_t i = 0; i < q_len; ++i) {
      const std::int32_t position = sequence.past + i;
      std::mt19937 random(static_cast<unsigned>(sequence.id * 100'003 + position));
      std::normal_distribution<float> normal;
      for (std::int64_t c = 0; c < shape_.q_size(); ++c) sequence.q.push_back(2 * normal(random));
      for (std::int64_t c = 0; c < shape_.kv_size(); ++c) sequence.k.push_back(normal(random));
      for (std::int64_t c = 0; c < shape_.kv_size(); ++c) sequence.v.push_back(normal(random));
      input.positions.push_back(position);
    }
    SequenceSlice slice;
    slice.id = sequence.id;
    slice.q_begin = static_cast<std::int32_t>(input.positions.size()) - q_len;
    slice.q_len = q_len;
    slice.kv_len = sequence.past;
    slice.prompt_len = sequence.prompt_len;
    slice.pages = sequence.pages;
    slice.request = &sequence.request;
    input.sequences.push_back(slice);
    input.token_ids.resize(input.positions.size());
  }

  AttentionShape shape_;
  Device device_;
  ModelConfig config_;
  std::vector<float> cos_;  // [kPositions, head_dim / 2]
  std::vector<float> sin_;
  std::unique_ptr<HostStore> store_;
  std::unique_ptr<SelectiveAttention> attention_;
  PageId next_page_ = kPages;
};

}  // namespace keyhole
