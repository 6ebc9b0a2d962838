#include "engine/ops/rank_blocks.h"

#include <algorithm>
#include <cstring>
#include <numbers>
#include <vector>

#include "engine/device/aligned_buffer.h"
#include "engine/ops/cpu/selection_dispatch.h"
#include "engine/ops/op_check.h"

namespace keyhole {

struct RankWorkspace::State {
  AlignedBuffer tops;  // [n_tiles][n_queries][kScoreStride]: products, then terms of the softmax
  std::vector<std::int32_t> codes;  // [n_groups][queries of the group][words()]
  std::vector<float> scales;        // to logarithms of base 2, in the order of codes
  std::vector<ScoreState> states;   // [n_tiles][n_queries]
  std::vector<float> weights;       // likewise
};

RankWorkspace::RankWorkspace() : state_(std::make_unique<State>()) {}
RankWorkspace::~RankWorkspace() = default;

namespace {

constexpr std::int32_t kTile = 256;  // blocks
constexpr int kTasksPerThread = 4;
static_assert(kTile <= kScoreBlock * kScoreTileBlocks && kTile % kScoreBlock == 0);

void Check(const RankBlocksParams& params) {
  constexpr std::string_view kOp = "RankBlocks";
  CheckOp(params.store != nullptr && params.queries != nullptr && params.scales != nullptr &&
              params.out != nullptr,
          kOp,
          "null argument");
  const DigestLayout& layout = params.store->layout();
  const std::int64_t room = static_cast<std::int64_t>(params.pages.size()) * layout.page_size;
  CheckOp(params.first >= 0 && params.end * std::int64_t{kDigestBlockTokens} <= room,
          kOp,
          "blocks leave the page table");
  CheckOp(params.slot >= 0 && params.slot < layout.n_slots, kOp, "no such slot");
  CheckOp(layout.coarse_dims > 0, kOp, "there are no coarse digests");
  CheckOp(params.n_probes > 0, kOp, "there is no probe");
  CheckOp(params.n_heads > 0 && params.n_heads % layout.n_groups == 0,
          kOp,
          "n_heads is not a multiple of n_groups");
}

class Ranking {
 public:
  Ranking(Device& device, const RankBlocksParams& params, RankWorkspace::State& state)
      : device_(device),
        kernels_(SelectionKernelsFor(device.cpu_level())),
        params_(params),
        layout_(params.store->layout()),
        n_blocks_(params.end - params.first),
        n_tiles_((n_blocks_ + kTile - 1) / kTile),
        n_queries_(params.n_probes * params.n_heads),
        state_(state) {}

  void Run() {
    Pack();
    Reserve();
    // Tiles in a row, since each fetches what comes after it.
    const std::int64_t n_tasks = std::min<std::int64_t>(
        n_tiles_, std::int64_t{kTasksPerThread} * device_.pool().n_threads());
    device_.pool().ParallelFor(n_tasks, [&](std::int64_t task) {
      for (std::int64_t tile = n_tiles_ * task / n_tasks; tile < n_tiles_ * (task + 1) / n_tasks;
           ++tile) {
        Reduce(tile);
      }
    });
    device_.pool().ParallelFor(n_queries_, [this](std::int64_t query) { Merge(query); });
    device_.pool().ParallelFor(n_tiles_, [this](std::int64_t tile) { Write(tile); });
  }

 private:
  std::int32_t heads_of_group() const { return params_.n_heads / layout_.n_groups; }
  std::int32_t n_lines() const { return CoarseLines(layout_.coarse_dims); }
  std::int32_t words() const { return CoarsePlanes(n_lines()); }

  // Queries by group, and in a group by probe. Coarse codes are in units of 16, and what was cut
  // off is alike in all rows.
  void Pack() {
    state_.codes.assign(static_cast<std::size_t>(n_queries_) * words(), 0);
    state_.scales.resize(n_queries_);
    std::int32_t at = 0;
    for (std::int32_t group = 0; group < layout_.n_groups; ++group) {
      for (std::int32_t probe = 0; probe < params_.n_probes; ++probe) {
        for (std::int32_t i = 0; i < heads_of_group(); ++i, ++at) {
          const std::int64_t from =
              std::int64_t{probe} * params_.n_heads + group * heads_of_group() + i;
          std::memcpy(state_.codes.data() + std::ptrdiff_t{at} * words(),
                      params_.queries + from * layout_.rank,
                      layout_.coarse_dims);
          state_.scales[at] = 16 * params_.scales[from] * std::numbers::log2e_v<float>;
        }
      }
    }
  }

  void Reserve() {
    const std::size_t n = static_cast<std::size_t>(n_tiles_) * n_queries_;
    const std::size_t bytes = n * kScoreStride * sizeof(float);
    if (state_.tops.size() < bytes) {
      state_.tops = {};
      state_.tops = AlignedBuffer::Allocate(bytes);
      if (state_.tops.size() < bytes) throw std::bad_alloc();
    }
    state_.states.assign(n, ScoreState{kScoreNone, 0});
    state_.weights.resize(n);
  }

  std::int32_t BlocksOf(std::int64_t tile) const {
    return static_cast<std::int32_t>(std::min<std::int64_t>(kTile, n_blocks_ - tile * kTile));
  }
  ScoreTile TileOf(std::int64_t tile) const {
    const std::int32_t n = BlocksOf(tile);
    return {.blocks = nullptr,
            .n_blocks = (n + kScoreBlock - 1) / kScoreBlock,
            .first = 0,
            .end = n,
            .n_quads = 0};
  }
  std::byte* RowsOf(std::int64_t tile) const {
    return state_.tops.data() + tile * n_queries_ * kScoreStride * std::ptrdiff_t{sizeof(float)};
  }

  void Reduce(std::int64_t index) const {
    const unsigned char* blocks[kTile + kRankAheadBlocks];
    const std::int32_t per_page = layout_.page_size / kDigestBlockTokens;
    const std::int32_t n = BlocksOf(index);
    const std::int32_t first = params_.first + static_cast<std::int32_t>(index) * kTile;
    const std::size_t block_bytes = layout_.coarse_block_bytes();
    std::int32_t page = first / per_page;
    std::int32_t in_page = first % per_page;
    const unsigned char* slot = params_.store->CoarseSlot(params_.pages[page], params_.slot);
    for (std::int32_t i = 0; i < n + kRankAheadBlocks; ++i) {
      blocks[i] = slot + in_page * block_bytes;
      if (first + i + 1 >= params_.end) continue;  // nothing comes after the last block
      if (++in_page < per_page) continue;
      in_page = 0;
      slot = params_.store->CoarseSlot(params_.pages[++page], params_.slot);
    }
    auto* rows = reinterpret_cast<std::int32_t*>(RowsOf(index));
    kernels_.score.block_tops({.blocks = blocks,
                               .n_blocks = n,
                               .n_groups = layout_.n_groups,
                               .n_lines = n_lines(),
                               .codes = state_.codes.data(),
                               .n_queries = n_queries_ / layout_.n_groups,
                               .tops = rows});
    const ScoreTile tile = TileOf(index);
    for (std::int32_t q = 0; q < n_queries_; ++q) {
      kernels_.score.sum_keep(tile,
                              rows + std::ptrdiff_t{q} * kScoreStride,
                              state_.scales[q],
                              &state_.states[index * n_queries_ + q]);
    }
  }

  // The factor of each tile's terms.
  void Merge(std::int64_t query) const {
    std::int32_t top = kScoreNone;
    for (std::int32_t t = 0; t < n_tiles_; ++t) {
      top = std::max(top, state_.states[std::int64_t{t} * n_queries_ + query].top);
    }
    float sum = 0;
    for (std::int32_t t = 0; t < n_tiles_; ++t) {
      const std::int64_t i = std::int64_t{t} * n_queries_ + query;
      float& weight = state_.weights[i];
      weight = static_cast<float>(state_.states[i].top - top) * state_.scales[query];
      kernels_.score.exp2(&weight, 1);
      sum += weight * state_.states[i].sum;
    }
    for (std::int32_t t = 0; t < n_tiles_; ++t) {
      state_.weights[std::int64_t{t} * n_queries_ + query] /= sum;
    }
  }

  void Write(std::int64_t index) const {
    const auto* rows = reinterpret_cast<const float*>(RowsOf(index));
    const float* weights = state_.weights.data() + index * n_queries_;
    const ScoreTile tile = TileOf(index);
    const std::int32_t heads = heads_of_group();
    alignas(64) float votes[kScoreStride];
    alignas(64) float best[kScoreStride] = {};
    for (std::int32_t probe = 0; probe < params_.n_probes; ++probe) {
      alignas(64) float sums[kScoreStride] = {};
      for (std::int32_t group = 0; group < layout_.n_groups; ++group) {
        const std::int32_t query = (group * params_.n_probes + probe) * heads;
        kernels_.score.weigh(
            tile, rows + std::ptrdiff_t{query} * kScoreStride, weights + query, heads, votes);
        for (std::int32_t i = 0; i < tile.end; ++i) sums[i] += votes[i];
      }
      kernels_.max_of(best, sums, tile.end, best);
    }
    std::copy_n(best, tile.end, params_.out + index * kTile);
  }

  Device& device_;
  const SelectionKernels kernels_;
  const RankBlocksParams& params_;
  const DigestLayout& layout_;
  const std::int32_t n_blocks_;
  const std::int32_t n_tiles_;
  const std::int32_t n_queries_;
  RankWorkspace::State& state_;
};

}  // namespace

void RankBlocks(Device& device, const RankBlocksParams& params, RankWorkspace& workspace) {
  if (params.first >= params.end) return;
  Check(params);
  Ranking(device, params, workspace.state()).Run();
}

}  // namespace keyhole
