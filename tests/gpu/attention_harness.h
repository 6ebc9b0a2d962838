// Sequences that step through attention on the accelerator and through SelectiveAttention side by
// side, with random projections that depend on sequence, position and layer alone.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "engine/attention/cuda/device_attention.h"
#include "engine/attention/selective_attention.h"
#include "engine/device/device_error.h"
#include "engine/device/graph_cache.h"
#include "engine/selection/policy_registry.h"
#include "tests/gpu/gpu_fixture.h"

namespace keyhole {

struct DeviceAttentionCase {
  KvType type = KvType::kF32;
  std::int32_t n_kv_heads = 2;
  std::int32_t group = 2;
  std::int32_t head_dim = 16;
  PositionMode positions = PositionMode::kRectified;
  Residency residency = Residency::kDevice;
  std::string policy = "esa";
  std::int32_t spare_pages = 0;  // of the device, beside those that a step holds
  std::int32_t fetched_rows = 80;
  float attention_factor = 1;
};

struct RunningSequence {
  RequestId id = 0;
  std::vector<PageId> pages;
  std::int32_t past = 0;
  std::int32_t prompt_len = 0;
  Request request;
};

class DeviceAttentionTest : public GpuTest {
 protected:
  static constexpr std::int32_t kLayers = 3;  // the second selects nothing
  static constexpr std::int32_t kPage = 16;
  static constexpr std::int32_t kPages = 64;
  static constexpr std::int32_t kPositions = 512;
  static constexpr std::int32_t kMostTokens = 128;

  void Make(const DeviceAttentionCase& c) {
    case_ = c;
    attention_.reset();
    kv_.reset();
    rope_host_ = {};
    MakeRope();
    MakeMaps();
    settings_ = {.positions = c.positions,
                 .sizes = {.initial = 8, .local = 40, .selected = 24},
                 .prefill_local = 40,
                 .distances = DefaultDistances(40)};
    settings_.distances.tail = 8;
    settings_.distances.chunk_size = 32;
    settings_.distances.recall.local = 30;
    settings_.distances.recall.budget = 20;
    layout_ = {.n_layers = kLayers,
               .n_kv_heads = c.n_kv_heads,
               .head_dim = c.head_dim,
               .page_size = kPage,
               .type = c.type};
    MakeReference();
    MakeDevice();
    next_page_ = kPages;
  }

  RunningSequence MakeSequence(RequestId id, std::int32_t n, std::int32_t prompt_len) {
    RunningSequence sequence;
    sequence.id = id;
    sequence.prompt_len = prompt_len;
    for (std::int32_t i = 0; i < PagesForTokens(n, kPage); ++i) {
      sequence.pages.push_back((--next_page_ * 7) % kPages);
    }
    return sequence;
  }

  using Work = std::vector<std::pair<RunningSequence*, std::int32_t>>;

  ModelInput InputOf(const Work& work) const {
    ModelInput input;
    for (const auto& [sequence, q_len] : work) {
      SequenceSlice slice;
      slice.id = sequence->id;
      slice.q_begin = static_cast<std::int32_t>(input.positions.size());
      slice.q_len = q_len;
      slice.kv_len = sequence->past;
      slice.prompt_len = sequence->prompt_len;
      slice.pages = sequence->pages;
      slice.request = &sequence->request;
      input.sequences.push_back(slice);
      for (std::int32_t i = 0; i < q_len; ++i) input.positions.push_back(sequence->past + i);
    }
    input.token_ids.resize(input.positions.size());
    return input;
  }

  // [layer][q, k or v]: rows of the step.
  std::vector<std::array<std::vector<float>, 3>> ProjectionsOf(const Work& work) const {
    std::vector<std::array<std::vector<float>, 3>> all(kLayers);
    for (std::int32_t layer = 0; layer < kLayers; ++layer) {
      for (const auto& [sequence, q_len] : work) {
        for (std::int32_t i = 0; i < q_len; ++i) {
          std::mt19937 random(
              static_cast<unsigned>((sequence->id * 1009 + sequence->past + i) * 5 + layer));
          std::normal_distribution<float> normal;
          for (std::int32_t c = 0; c < q_size(); ++c) all[layer][0].push_back(2 * normal(random));
          for (int kind : {1, 2}) {
            for (std::size_t c = 0; c < layout_.kv_size(); ++c) {
              all[layer][kind].push_back(normal(random));
            }
          }
        }
      }
    }
    return all;
  }

  // Outputs of all layers of one step on the device, and what the host counted.
  std::vector<float> StepOnDevice(const Work& work, StepResult& result, bool captured = false) {
    const ModelInput input = InputOf(work);
    result.sequences.resize(work.size());
    const auto n = input.positions.size();
    const auto all = ProjectionsOf(work);
    for (std::int32_t layer = 0; layer < kLayers; ++layer) {
      for (int kind = 0; kind < 3; ++kind) {
        EXPECT_TRUE(CopyAsync(stream(),
                              inputs_[layer][kind],
                              all[layer][kind].data(),
                              all[layer][kind].size() * sizeof(float))
                        .ok());
      }
    }
    EXPECT_TRUE(stream().Synchronize().ok());
    const absl::Status begun = attention_->Begin(input, projections_, result);
    EXPECT_TRUE(begun.ok()) << begun;
    if (!begun.ok()) return {};
    const auto run = [&]() -> absl::Status {
      for (std::int32_t layer = 0; layer < kLayers; ++layer) QueueWithCopies(layer, n);
      return absl::OkStatus();
    };
    const absl::Status ran =
        captured ? graphs_.Run(stream(), {attention_->arguments(), n}, run) : run();
    EXPECT_TRUE(ran.ok()) << ran;
    const absl::Status ended = attention_->End(ran.ok());
    EXPECT_TRUE(ended.ok()) << ended;
    std::vector<float> out;
    for (std::int32_t layer = 0; layer < kLayers; ++layer) {
      const std::vector<float> rows = FromDevice(outputs_[layer], n * q_size());
      out.insert(out.end(), rows.begin(), rows.end());
    }
    return out;
  }

  // The same by SelectiveAttention.
  std::vector<float> StepOnCpu(const Work& work, StepResult& result) {
    const ModelInput input = InputOf(work);
    result.sequences.resize(work.size());
    const auto n = static_cast<std::int64_t>(input.positions.size());
    const auto all = ProjectionsOf(work);
    std::vector<float> out;
    for (std::int32_t layer = 0; layer < kLayers; ++layer) {
      const auto tensor = [&](const std::vector<float>& values, std::int64_t heads) {
        at::Tensor t = at::empty({n, heads, case_.head_dim}, at::TensorOptions().dtype(at::kFloat));
        std::copy(values.begin(), values.end(), t.mutable_data_ptr<float>());
        return t;
      };
      const at::Tensor q = tensor(all[layer][0], n_heads());
      const at::Tensor k = tensor(all[layer][1], case_.n_kv_heads);
      const at::Tensor v = tensor(all[layer][2], case_.n_kv_heads);
      at::Tensor o = at::empty({n, q_size()}, q.options());
      reference_->Run(cpu_, layer, input, {&q, &k, &v, &o}, result);
      out.insert(out.end(), o.const_data_ptr<float>(), o.const_data_ptr<float>() + n * q_size());
    }
    return out;
  }

  static void Advance(const Work& work) {
    for (const auto& [sequence, q_len] : work) sequence->past += q_len;
  }

  std::int32_t n_heads() const { return case_.n_kv_heads * case_.group; }
  std::int32_t q_size() const { return n_heads() * case_.head_dim; }
  cuda::DeviceAttention& attention() { return *attention_; }
  ResidentKv& kv() { return *kv_; }
  std::int64_t n_captures() const { return graphs_.n_captures(); }

 private:
  struct GraphKey {
    cuda::StepArguments arguments;
    std::size_t n_tokens;
    bool operator==(const GraphKey&) const = default;
  };

  void QueueWithCopies(std::int32_t layer, std::size_t n) {
    float* const to[] = {const_cast<float*>(projections_.q),
                         const_cast<float*>(projections_.k),
                         const_cast<float*>(projections_.v)};
    const std::size_t sizes[] = {n * q_size(), n * layout_.kv_size(), n * layout_.kv_size()};
    for (int kind = 0; kind < 3; ++kind) {
      const std::size_t bytes = sizes[kind] * sizeof(float);
      ThrowIfFailed(CopyAsync(stream(), to[kind], inputs_[layer][kind], bytes));
    }
    attention_->QueueLayer(layer);
    ThrowIfFailed(
        CopyAsync(stream(), outputs_[layer], projections_.out, n * q_size() * sizeof(float)));
  }

  void MakeRope() {
    const std::int32_t half = case_.head_dim / 2;
    for (std::int32_t position = 0; position < kPositions; ++position) {
      for (std::int32_t c = 0; c < half; ++c) {
        const double angle = position * std::pow(10000.0, -static_cast<double>(c) / half);
        rope_host_.first.push_back(static_cast<float>(case_.attention_factor * std::cos(angle)));
        rope_host_.second.push_back(static_cast<float>(case_.attention_factor * std::sin(angle)));
      }
    }
    rope_ = {rope_host_.first.data(), rope_host_.second.data(), case_.attention_factor};
  }

  // Some dimensions of the keys as they are, so that codes are the same on both sides.
  void MakeMaps() {
    const bool concatenated = case_.policy == "esa-paper";
    maps_ = std::make_shared<DigestMaps>();
    maps_->form = concatenated ? DigestForm::kConcatenated : DigestForm::kPerKvHead;
    maps_->n_groups = concatenated ? 1 : case_.n_kv_heads;
    maps_->in_dim = case_.n_kv_heads * case_.head_dim / maps_->n_groups;
    maps_->rank = maps_->in_dim / 2;
    LayerDigestMaps layer;
    layer.key.assign(std::size_t(maps_->n_groups) * maps_->rank * maps_->in_dim, 0);
    layer.query = layer.key;
    for (std::int32_t row = 0; row < maps_->n_groups * maps_->rank; ++row) {
      const std::size_t at = std::size_t(row) * maps_->in_dim + row % maps_->rank;
      layer.key[at] = 32;
      layer.query[at] = 1.0F / 32;
    }
    maps_->layers.assign(kLayers, layer);
    maps_->layers[1].selects = false;
  }

  void MakeReference() {
    store_ = HostStore::Create(layout_, kPages).value();
    ModelConfig config;
    config.n_layers = kLayers;
    config.n_heads = n_heads();
    config.n_kv_heads = case_.n_kv_heads;
    config.head_dim = case_.head_dim;
    config.trained_length = kPositions;
    PolicyParts parts = {.n_heads = n_heads(),
                         .n_kv_heads = case_.n_kv_heads,
                         .head_dim = case_.head_dim,
                         .positions = case_.positions,
                         .rope = rope_,
                         .maps = maps_,
                         .query_distance = 20,
                         .proximity = 2,
                         .probes = 3,
                         .single_queries = 4,
                         .recall_interval = 0};
    digest_layout_ = {.n_slots = kLayers - 1,
                      .n_groups = maps_->n_groups,
                      .rank = maps_->rank,
                      .page_size = kPage};
    digests_ = DigestStore::Create(digest_layout_, kPages).value();
    parts.digests = digests_.get();
    reference_ = std::make_unique<SelectiveAttention>(
        config, settings_, rope_, store_.get(), MakeSelectionPolicy(case_.policy, parts).value());
  }

  cuda::DeviceSelection SelectionOf() const {
    cuda::DeviceSelection selection = {
        .query_distance = 20, .proximity = 2, .probes = 3, .single_queries = 4};
    selection.middle = FindSelectionPolicy(case_.policy)->middle;
    if (case_.policy == "esa-paper" || case_.policy == "esa-individual") {
      selection.score = cuda::ScoreRule::kShift;
    }
    return selection;
  }

  void MakeDevice() {
    host_ = HostStore::CreatePinned(layout_, kPages).value();
    // Initial rows, local ones and a chunk of two sequences, and all of a short one.
    const std::int32_t held = 2 * (1 + 6) + 4;
    const std::size_t hot = layout_.row_bytes() * kLayers * case_.fetched_rows;
    const bool all = case_.residency == Residency::kDevice;
    const std::size_t pages = all ? kPages : held + case_.spare_pages;
    kv_ = ResidentKv::Create({.mode = case_.residency,
                              .device_bytes = pages * layout_.page_bytes() + hot,
                              .held_pages = held,
                              .fetched_rows = case_.fetched_rows},
                             layout_,
                             kPages,
                             {.stream = &stream(), .host = host_.get()})
              .value();
    device_maps_.emplace(stream(), *maps_);
    auto* digests = Take<std::uint8_t>(digest_layout_.page_bytes() * kPages);
    attention_.emplace(cuda::DeviceAttentionShape{.n_heads = n_heads(),
                                                  .all_heads = n_heads(),
                                                  .all_kv_heads = case_.n_kv_heads,
                                                  .n_pages = kPages,
                                                  .n_sequences = 3,
                                                  .settings = settings_,
                                                  .selection = SelectionOf()},
                       cuda::DeviceAttentionParts{.stream = &stream(),
                                                  .kv = kv_.get(),
                                                  .host = host_.get(),
                                                  .rope = {ToDevice(rope_host_.first),
                                                           ToDevice(rope_host_.second),
                                                           rope_.attention_factor},
                                                  .maps = &*device_maps_,
                                                  .digests = digests});
    const std::size_t kv_size = layout_.kv_size();
    for (std::int32_t layer = 0; layer < kLayers; ++layer) {
      inputs_[layer] = {Take<float>(kMostTokens * q_size()),
                        Take<float>(kMostTokens * kv_size),
                        Take<float>(kMostTokens * kv_size)};
      outputs_[layer] = Take<float>(kMostTokens * q_size());
    }
    projections_ = {Take<float>(kMostTokens * q_size()),
                    Take<float>(kMostTokens * kv_size),
                    Take<float>(kMostTokens * kv_size),
                    Take<float>(kMostTokens * q_size())};
    projections_.all_q = projections_.q;
    projections_.all_k = projections_.k;
  }

  DeviceAttentionCase case_;
  Device cpu_{1};
  std::pair<std::vector<float>, std::vector<float>> rope_host_;
  RopeRows rope_;
  std::shared_ptr<DigestMaps> maps_;
  AttentionSettings settings_;
  KvLayout layout_;
  DigestLayout digest_layout_;
  std::unique_ptr<HostStore> store_;
  std::unique_ptr<DigestStore> digests_;
  std::unique_ptr<SelectiveAttention> reference_;

  std::unique_ptr<HostStore> host_;
  std::unique_ptr<ResidentKv> kv_;
  std::optional<cuda::DeviceDigestMaps> device_maps_;
  std::optional<cuda::DeviceAttention> attention_;
  std::array<std::array<float*, 3>, kLayers> inputs_;
  std::array<float*, kLayers> outputs_;
  cuda::DeviceProjections projections_;
  GraphCache<GraphKey> graphs_{8};
  PageId next_page_ = kPages;
};

}  // namespace keyhole
