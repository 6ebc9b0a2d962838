#include "engine/selection/recall_sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <vector>

#include "engine/kv/host_store.h"

namespace keyhole {
namespace {

using testing::ElementsAre;

constexpr std::int32_t kPageSize = 64;

class RecallSamplerTest : public testing::Test {
 protected:
  // Which of `n_steps` decode selections of one sequence are looked at.
  std::vector<std::int32_t> SampledSteps(std::int32_t n_candidates, std::int32_t n_steps) {
    const std::int32_t n_pages = (n_candidates + kPageSize - 1) / kPageSize;
    const auto store = HostStore::Create({.n_layers = 1,
                                          .n_kv_heads = 1,
                                          .head_dim = 4,
                                          .page_size = kPageSize,
                                          .type = KvType::kF32},
                                         n_pages)
                           .value();
    std::vector<PageId> pages(n_pages);
    std::iota(pages.begin(), pages.end(), 0);
    const std::vector<float> zeros(1024);
    PolicyParts parts;
    parts.n_heads = 1;
    parts.n_kv_heads = 1;
    parts.head_dim = 4;
    parts.store = store.get();
    parts.positions = PositionMode::kRectified;
    parts.rope = {zeros.data(), zeros.data(), 1};
    parts.query_distance = 1;
    parts.recall_interval = 3;
    RecallSampler sampler(parts);
    Selection selection = Partition(n_candidates, {.initial = 0, .local = 0, .selected = 2});
    selection.selected = {0, 1};
    std::vector<std::int32_t> sampled;
    for (std::int32_t step = 1; step <= n_steps; ++step) {
      StepSelectionStats stats;
      sampler.Sample(device_,
                     {.id = 1,
                      .past = n_candidates,
                      .q_len = 1,
                      .n_heads = 1,
                      .head_dim = 4,
                      .queries = zeros.data(),
                      .sizes = {.selected = 2},
                      .pages = pages},
                     selection,
                     stats);
      if (!stats.samples.empty()) sampled.push_back(step);
    }
    return sampled;
  }

  Device device_{1};
};

TEST_F(RecallSamplerTest, LooksAtOneSelectionInAnInterval) {
  EXPECT_THAT(SampledSteps(100, 10), ElementsAre(3, 6, 9));
  EXPECT_THAT(SampledSteps(16'000, 10), ElementsAre(3, 6, 9));
}

TEST_F(RecallSamplerTest, OfMoreCandidatesSamplesAreAsManyTimesRarer) {
  EXPECT_THAT(SampledSteps(2 * 8192, 27), ElementsAre(3, 3 + 7, 10 + 8, 18 + 9));
}

}  // namespace
}  // namespace keyhole
