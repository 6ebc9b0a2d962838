// Speed of selection on one layer: scores of blocks and of candidates, pool, top-k and new digests,
// for two models' shapes. Prints one JSON object a line. `--check` runs small sizes once, to see
// that it works.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "engine/kv/kv_layout.h"
#include "engine/ops/append_digests.h"
#include "engine/ops/max_pool.h"
#include "engine/ops/rank_blocks.h"
#include "engine/ops/score_rows.h"
#include "engine/ops/top_k.h"
#include "tests/support/bench.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 64;
constexpr std::int32_t kSlots = 2;  // layers that keep digests: a page's layers lie side by side

struct Case {
  std::string_view name;
  std::int32_t n_groups;
  std::int32_t rank;
  std::int32_t n_heads;
  std::int32_t n_probes;
  ScoreRule rule;
};

constexpr Case kCases[] = {{"decode vote", 3, 32, 9, 1, ScoreRule::kVote},
                           {"decode vote 8b", 8, 32, 32, 1, ScoreRule::kVote},
                           {"decode uniform", 1, 64, 1, 1, ScoreRule::kShift},
                           {"prefill vote", 3, 32, 9, 8, ScoreRule::kVote},
                           {"prefill uniform", 1, 64, 1, 512, ScoreRule::kShift},
                           {"prefill individual", 3, 32, 9, 512, ScoreRule::kShift}};

class Bench {
 public:
  Bench(const KernelBenchOptions& options, Device& device) : options_(options), device_(device) {}

  void RunAll() {
    const std::vector<std::int32_t> sizes =
        options_.check ? std::vector{100, 1000} : std::vector{8192, 32768, 131072};
    for (const std::int32_t n : sizes) {
      for (const Case& c : kCases) Score(c, n);
      Rank("rank blocks", 1, n);
      Rank("rank blocks of a chunk", 8, n);
      Pool(n, 8);
      Choose(n, 512);
    }
    for (const std::int32_t n : {1, 512}) {
      Append("append per_kv_head", 3, 32, 64, n);
      Append("append concatenated", 1, 64, 192, n);
    }
  }

 private:
  struct Digests {
    std::unique_ptr<DigestStore> store;
    std::vector<PageId> pages;
  };

  Digests MakeDigests(std::int32_t n_groups,
                      std::int32_t rank,
                      std::int32_t n,
                      std::int32_t coarse_dims = 0) {
    const DigestLayout layout = {.n_slots = kSlots,
                                 .n_groups = n_groups,
                                 .rank = rank,
                                 .page_size = kPage,
                                 .coarse_dims = coarse_dims};
    Digests digests;
    digests.pages.resize(PagesForTokens(n, kPage));
    std::iota(digests.pages.begin(), digests.pages.end(), 0);
    std::shuffle(digests.pages.begin(), digests.pages.end(), random_);
    digests.store =
        DigestStore::Create(layout, static_cast<std::int32_t>(digests.pages.size())).value();
    // Sums of four bytes: codes of a key's dimensions are nearly normal.
    for (const PageId page : digests.pages) {
      std::generate_n(digests.store->Slot(page, 0), layout.page_bytes(), [this] {
        const std::uint32_t bits = random_();
        return static_cast<std::uint8_t>(
            ((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24)) / 4);
      });
      for (std::int32_t slot = 0; coarse_dims > 0 && slot < kSlots; ++slot) {
        std::generate_n(digests.store->CoarseSlot(page, slot), layout.coarse_slot_bytes(), [this] {
          return static_cast<std::uint8_t>(random_());
        });
      }
    }
    return digests;
  }

  void Score(const Case& c, std::int32_t n) {
    if (!std::string_view(c.name).starts_with(options_.only)) return;
    const Digests digests = MakeDigests(c.n_groups, c.rank, n);
    std::vector<std::int8_t> queries(static_cast<std::size_t>(c.n_probes) * c.n_heads * c.rank);
    for (std::int8_t& x : queries) x = static_cast<std::int8_t>(random_() % 255 - 127);
    std::vector<float> scales(static_cast<std::size_t>(c.n_probes) * c.n_heads, 3e-4F);
    std::vector<float> out(n);
    // Each layer in its turn, as a step reads them.
    std::int32_t slot = 0;
    const RunSeconds seconds = Measure([&] {
      slot = (slot + 1) % kSlots;
      const ScoreRowsParams params = {.store = digests.store.get(),
                                      .slot = slot,
                                      .pages = digests.pages,
                                      .rows = {0, n},
                                      .rule = c.rule,
                                      .n_probes = c.n_probes,
                                      .n_heads = c.n_heads,
                                      .queries = queries.data(),
                                      .scales = scales.data(),
                                      .out = out.data()};
      ScoreRows(device_, {&params, 1}, workspace_);
    });
    Print(c.name, n, seconds, static_cast<double>(c.n_groups) * c.rank);
  }

  // Of whole blocks, by the default model's coarse digests.
  void Rank(std::string_view name, std::int32_t n_probes, std::int32_t n) {
    if (!name.starts_with(options_.only)) return;
    constexpr std::int32_t kGroups = 3;
    constexpr std::int32_t kRank = 32;
    constexpr std::int32_t kHeads = 9;
    constexpr std::int32_t kCoarseDims = 24;
    const Digests digests = MakeDigests(kGroups, kRank, n, kCoarseDims);
    std::vector<std::int8_t> queries(static_cast<std::size_t>(n_probes) * kHeads * kRank);
    for (std::int8_t& x : queries) x = static_cast<std::int8_t>(random_() % 255 - 127);
    const std::vector<float> scales(static_cast<std::size_t>(n_probes) * kHeads, 3e-4F);
    const std::int32_t n_blocks = n / kDigestBlockTokens;
    std::vector<float> out(n_blocks);
    std::int32_t slot = 0;
    const RunSeconds seconds = Measure([&] {
      slot = (slot + 1) % kSlots;
      RankBlocks(device_,
                 {.store = digests.store.get(),
                  .slot = slot,
                  .pages = digests.pages,
                  .first = 0,
                  .end = n_blocks,
                  .n_probes = n_probes,
                  .n_heads = kHeads,
                  .queries = queries.data(),
                  .scales = scales.data(),
                  .out = out.data()},
                 ranks_);
    });
    const auto block_bytes = static_cast<double>(digests.store->layout().coarse_block_bytes());
    Print(name, n, seconds, block_bytes / kDigestBlockTokens);
  }

  std::vector<float> RandomScores(std::int32_t n) {
    std::normal_distribution<float> normal(0, 3);
    std::vector<float> scores(n);
    for (float& x : scores) x = std::exp(normal(random_));
    return scores;
  }

  void Pool(std::int32_t n, std::int32_t eps) {
    if (!std::string_view("pool").starts_with(options_.only)) return;
    const std::vector<float> scores = RandomScores(n);
    std::vector<float> out(n);
    Print("pool", n, Measure([&] { MaxPool(device_, scores, eps, out); }), 4);
  }

  void Choose(std::int32_t n, std::int32_t k) {
    if (!std::string_view("top_k").starts_with(options_.only)) return;
    const std::vector<float> raw = RandomScores(n);
    std::vector<float> scores(n);
    MaxPool(device_, raw, 8, scores);
    std::vector<std::int32_t> rows;
    Print("top_k", n, Measure([&] { TopK(device_, scores, k, 0, top_k_, rows); }), 4);
  }

  void Append(std::string_view name,
              std::int32_t n_groups,
              std::int32_t rank,
              std::int32_t in_dim,
              std::int32_t n) {
    if (!name.starts_with(options_.only)) return;
    const Digests digests = MakeDigests(n_groups, rank, n);
    const std::vector<float> keys = RandomScores(n * n_groups * in_dim);
    const std::vector<float> map = RandomScores(n_groups * rank * in_dim);
    const RunSeconds seconds = Measure([&] {
      const AppendDigestsParams params = {.store = digests.store.get(),
                                          .slot = 0,
                                          .pages = digests.pages,
                                          .first = 0,
                                          .n_tokens = n,
                                          .keys = keys.data(),
                                          .map = map.data(),
                                          .in_dim = in_dim};
      AppendDigests(device_, {&params, 1});
    });
    Print(name, n, seconds, 4.0 * n_groups * in_dim);
  }

  RunSeconds Measure(absl::FunctionRef<void()> run) const {
    return MeasureRuns(run, options_.check);
  }

  void Print(std::string_view name,
             std::int32_t n,
             const RunSeconds& seconds,
             double row_bytes) const {
    fmt::print(R"({{"bench": "selection", "name": "{}", "n": {}, "level": "{}", "threads": {}, )"
               R"("seconds": {:.3e}, "best_seconds": {:.3e}, "ns_per_row": {:.3f}, )"
               R"("best_gb_per_s": {:.2f}}})"
               "\n",
               name,
               n,
               CpuLevelName(options_.level),
               device_.pool().n_threads(),
               seconds.median,
               seconds.best,
               seconds.median / n * 1e9,
               row_bytes * n / seconds.best * 1e-9);
    std::fflush(stdout);
  }

  const KernelBenchOptions& options_;
  Device& device_;
  std::mt19937 random_{1};
  ScoreWorkspace workspace_;
  RankWorkspace ranks_;
  TopKWorkspace top_k_;
};

int Main(int argc, char** argv) {
  const absl::StatusOr<KernelBenchOptions> options = ParseKernelBench(argc, argv);
  if (!options.ok()) {
    fmt::print(stderr, "{}\n", options.status().ToString());
    return 2;
  }
  Device device(options->threads, options->level);
  Bench(*options, device).RunAll();
  return 0;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) { return keyhole::Main(argc, argv); }
