#include "tests/support/policy_harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "engine/ops/append_kv.h"
#include "engine/selection/policy_registry.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPositions = 4096;

std::vector<float> RandomFloats(std::size_t n, unsigned seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(n);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

std::shared_ptr<const DigestMaps> RandomMaps(DigestForm form) {
  auto maps = std::make_shared<DigestMaps>();
  maps->form = form;
  maps->n_groups = form == DigestForm::kConcatenated ? 1 : PolicyHarness::kKvHeads;
  maps->in_dim = PolicyHarness::kKvHeads * PolicyHarness::kHeadDim / maps->n_groups;
  maps->rank = PolicyHarness::kRank;
  maps->query_distance = PolicyHarness::kDistance;
  const std::size_t n = static_cast<std::size_t>(maps->n_groups) * maps->rank * maps->in_dim;
  // Both from one matrix, so that compressed products follow whole ones.
  LayerDigestMaps& layer = maps->layers.emplace_back();
  layer.key = RandomFloats(n, 11, 10);
  for (const float value : layer.key) layer.query.push_back(value / 500);
  return maps;
}

// [n_kv_heads, head_dim] turned to its position.
void Rotate(RopeRows rope, std::int32_t position, std::span<float> key) {
  constexpr std::int32_t kHalf = PolicyHarness::kHeadDim / 2;
  for (std::size_t head = 0; head < key.size(); head += 2 * kHalf) {
    for (std::int32_t c = 0; c < kHalf; ++c) {
      const float cos = rope.cos[position * kHalf + c];
      const float sin = rope.sin[position * kHalf + c];
      const float low = key[head + c];
      const float high = key[head + c + kHalf];
      key[head + c] = low * cos - high * sin;
      key[head + c + kHalf] = high * cos + low * sin;
    }
  }
}

}  // namespace

PolicyCase::PolicyCase(RequestId case_id,
                       std::int32_t case_past,
                       std::int32_t n,
                       SelectionSizes case_sizes)
    : id(case_id),
      past(case_past),
      q_len(n),
      sizes(case_sizes),
      queries(RandomFloats(
          static_cast<std::size_t>(n) * PolicyHarness::kHeads * PolicyHarness::kHeadDim,
          static_cast<unsigned>(case_id * 7919 + case_past),
          1)) {}

PolicyHarness::PolicyHarness(std::string_view policy,
                             PositionMode positions,
                             std::int32_t coarse_dims)
    : positions_(positions) {
  for (std::int32_t position = 0; position < kPositions; ++position) {
    for (std::int32_t c = 0; c < kHeadDim / 2; ++c) {
      const double angle = position * std::pow(10000.0, -2.0 * c / kHeadDim);
      cos_.push_back(static_cast<float>(std::cos(angle)));
      sin_.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  store_ = HostStore::Create({.n_layers = 1,
                              .n_kv_heads = kKvHeads,
                              .head_dim = kHeadDim,
                              .page_size = kPageSize,
                              .type = KvType::kF32},
                             kPages)
               .value();
  const PolicyTraits traits = FindSelectionPolicy(policy).value();
  maps_ = RandomMaps(traits.digests.value_or(DigestForm::kPerKvHead));
  digests_ = DigestStore::Create({.n_slots = 1,
                                  .n_groups = maps_->n_groups,
                                  .rank = maps_->rank,
                                  .page_size = kPageSize,
                                  .coarse_dims = coarse_dims},
                                 kPages)
                 .value();
  policy_ = MakeSelectionPolicy(policy,
                                {.n_heads = kHeads,
                                 .n_kv_heads = kKvHeads,
                                 .head_dim = kHeadDim,
                                 .store = store_.get(),
                                 .positions = positions,
                                 .rope = rope(),
                                 .maps = maps_,
                                 .digests = digests_.get(),
                                 .query_distance = kDistance,
                                 .proximity = kProximity,
                                 .probes = kProbes,
                                 .single_queries = kSingleQueries,
                                 .fine_rows = kFineRows,
                                 .recall_interval = 1})
                .value();
}

std::vector<float> PolicyHarness::Key(RequestId id, std::int32_t position) {
  return RandomFloats(static_cast<std::size_t>(kKvHeads) * kHeadDim,
                      static_cast<unsigned>(id * 100'003 + position),
                      1);
}

void PolicyHarness::Append(Device& device, RequestId id, std::int32_t length) {
  Sequence& sequence = sequences_[id];
  if (length <= sequence.length) return;
  while (std::ssize(sequence.pages) * kPageSize < length) {
    sequence.pages.push_back(next_page_++ * 7 % kPages);  // 7 and the number of pages are coprime
  }
  EXPECT_LE(next_page_, kPages);
  std::vector<float> keys;
  std::vector<float> stored;
  for (std::int32_t position = sequence.length; position < length; ++position) {
    std::vector<float> key = Key(id, position);
    keys.insert(keys.end(), key.begin(), key.end());
    if (positions_ == PositionMode::kNative) Rotate(rope(), position, key);
    stored.insert(stored.end(), key.begin(), key.end());
  }
  const AppendContext context = {.id = id,
                                 .layer = 0,
                                 .first = sequence.length,
                                 .n_tokens = length - sequence.length,
                                 .keys = keys.data(),
                                 .pages = sequence.pages};
  policy_->OnAppend(device, {&context, 1});
  const AppendKvParams append = {.store = store_.get(),
                                 .layer = 0,
                                 .pages = sequence.pages,
                                 .first = context.first,
                                 .n_tokens = context.n_tokens,
                                 .keys = stored.data(),
                                 .values = stored.data()};
  AppendKv(device, {&append, 1});
  sequence.length = length;
}

SelectionContext PolicyHarness::ContextOf(const PolicyCase& c, StepSelectionStats* stats) {
  return {.id = c.id,
          .layer = 0,
          .past = c.past,
          .q_len = c.q_len,
          .n_heads = kHeads,
          .head_dim = kHeadDim,
          .queries = c.queries.data(),
          .sizes = c.sizes,
          .pages = sequences_[c.id].pages,
          .stats = stats};
}

absl::StatusOr<Selection> PolicyHarness::Select(Device& device,
                                                const PolicyCase& c,
                                                StepSelectionStats* stats) {
  Append(device, c.id, c.past);
  return policy_->Select(device, ContextOf(c, stats));
}

std::vector<Selection> PolicyHarness::SelectEach(Device& device,
                                                 std::span<const PolicyCase> cases,
                                                 StepSelectionStats* stats) {
  std::vector<SelectionContext> contexts;
  for (const PolicyCase& c : cases) {
    Append(device, c.id, c.past);
    contexts.push_back(ContextOf(c, stats));
  }
  std::vector<absl::StatusOr<Selection>> chosen(contexts.size());
  policy_->SelectEach(device, contexts, chosen);
  std::vector<Selection> selections;
  for (absl::StatusOr<Selection>& selection : chosen) {
    EXPECT_TRUE(selection.ok()) << selection.status();
    selections.push_back(std::move(selection).value_or(Selection{}));
  }
  return selections;
}

Selection PolicyHarness::Select(Device& device, const PolicyCase& c) {
  absl::StatusOr<Selection> selection = Select(device, c, nullptr);
  EXPECT_TRUE(selection.ok()) << selection.status();
  return selection.value_or(Selection{});
}

}  // namespace keyhole
