// Speed of attention over KV pages: decode at growing depths and prefill chunks, for two models'
// shapes. Prints one JSON object a line. `--check` runs small sizes once, to see that it works.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "engine/ops/append_kv.h"
#include "engine/ops/attend_rows.h"
#include "tests/support/bench.h"

namespace keyhole {
namespace {

struct ModelShape {
  std::string_view name;
  std::int32_t n_heads;
  std::int32_t n_kv_heads;
  std::int32_t head_dim;
};

constexpr ModelShape kModels[] = {{"smollm2-135m", 9, 3, 64}, {"llama-3-8b", 32, 8, 128}};

enum class Rows { kAll, kScattered };

struct Case {
  ModelShape model;
  std::int32_t q_len = 1;
  std::int32_t depth = 0;  // rows before the queries
  Rows rows = Rows::kAll;  // all of them, or one in eight as selection would gather them
};

class Bench {
 public:
  Bench(const Case& c, Device& device) : case_(c), device_(device) {
    const KvLayout layout = {.n_layers = 1,
                             .n_kv_heads = c.model.n_kv_heads,
                             .head_dim = c.model.head_dim,
                             .type = KvType::kBF16};
    const std::int32_t n_rows = c.depth + c.q_len;
    pages_.resize(PagesForTokens(n_rows, layout.page_size));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), random_);
    store_ = HostStore::Create(layout, static_cast<std::int32_t>(pages_.size())).value();
    FillStore(n_rows);
    std::normal_distribution<float> normal;
    queries_.resize(static_cast<std::size_t>(c.q_len) * c.model.n_heads * c.model.head_dim);
    std::generate(queries_.begin(), queries_.end(), [&] { return normal(random_); });
    out_.resize(queries_.size());
    MakeParts(n_rows);
  }

  void Run() {
    const AttendParams params = {
        .store = store_.get(),
        .layer = 0,
        .pages = pages_,
        .q_len = case_.q_len,
        .n_heads = case_.model.n_heads,
        .softmax_scale = 1 / std::sqrt(static_cast<float>(case_.model.head_dim)),
        .parts = parts_,
        .out = out_.data()};
    AttendRows(device_, {&params, 1}, workspace_);
  }

  double bytes() const { return static_cast<double>(n_attended_) * store_->layout().row_bytes(); }
  // Products and sums of queries with keys and of weights with values.
  double flop() const {
    double pairs = static_cast<double>(n_attended_) * case_.q_len;
    if (case_.rows == Rows::kAll) pairs -= 0.5 * case_.q_len * (case_.q_len - 1);  // causal
    return 4 * pairs * case_.model.n_heads * case_.model.head_dim;
  }

 private:
  void FillStore(std::int32_t n_rows) {
    constexpr std::int32_t kStep = 1024;
    const std::size_t row = store_->layout().kv_size();
    std::normal_distribution<float> normal;
    std::vector<float> x(kStep * row);
    std::generate(x.begin(), x.end(), [&] { return normal(random_); });
    for (std::int32_t first = 0; first < n_rows; first += kStep) {
      const AppendKvParams params = {.store = store_.get(),
                                     .layer = 0,
                                     .pages = pages_,
                                     .first = first,
                                     .n_tokens = std::min(kStep, n_rows - first),
                                     .keys = x.data(),
                                     .values = x.data()};
      AppendKv(device_, {&params, 1});
    }
  }

  void MakeParts(std::int32_t n_rows) {
    AttendPart part = {.queries = queries_.data()};
    if (case_.rows == Rows::kAll) {
      part.range = {0, n_rows};
      part.causal_from = case_.depth;
      n_attended_ = n_rows;
    } else {
      for (std::int32_t row = 0; row < n_rows; ++row) {
        if (random_() % 8 == 0) rows_.push_back(row);
      }
      part.rows = rows_;
      n_attended_ = static_cast<std::int64_t>(rows_.size());
    }
    parts_ = {part};
  }

  Case case_;
  Device& device_;
  std::mt19937 random_{1};
  std::unique_ptr<HostStore> store_;
  std::vector<PageId> pages_;
  std::vector<float> queries_;
  std::vector<float> out_;
  std::vector<std::int32_t> rows_;
  std::vector<AttendPart> parts_;
  std::int64_t n_attended_ = 0;
  AttendWorkspace workspace_;
};

std::vector<Case> Cases(bool check) {
  std::vector<Case> cases;
  const std::vector<std::int32_t> depths =
      check ? std::vector{0, 100, 1000} : std::vector{0, 512, 4096, 16384, 65536, 131071};
  for (const ModelShape& model : kModels) {
    for (const std::int32_t depth : depths) {
      cases.push_back({model, 1, depth, Rows::kAll});
      if (depth >= 100) cases.push_back({model, 1, depth, Rows::kScattered});
      if (depth <= 16384) cases.push_back({model, check ? 40 : 512, depth, Rows::kAll});
    }
  }
  return cases;
}

int Main(int argc, char** argv) {
  const absl::StatusOr<KernelBenchOptions> options = ParseKernelBench(argc, argv);
  if (!options.ok()) {
    fmt::print(stderr, "{}\n", options.status().ToString());
    return 2;
  }
  Device device(options->threads, options->level);
  for (const Case& c : Cases(options->check)) {
    const std::string_view phase = c.q_len == 1 ? "decode" : "prefill";
    if (!phase.starts_with(options->only)) continue;
    Bench bench(c, device);
    const RunSeconds seconds = MeasureRuns([&] { bench.Run(); }, options->check);
    fmt::print(
        R"({{"bench": "attention", "model": "{}", "phase": "{}", "rows": "{}", "depth": {}, )"
        R"("q_len": {}, "level": "{}", "threads": {}, "seconds": {:.3e}, "best_seconds": {:.3e}, "gb_per_s": {:.2f}, )"
        R"("gflop_per_s": {:.2f}}})"
        "\n",
        c.model.name,
        phase,
        c.rows == Rows::kAll ? "all" : "scattered",
        c.depth,
        c.q_len,
        CpuLevelName(options->level),
        device.pool().n_threads(),
        seconds.median,
        seconds.best,
        bench.bytes() / seconds.median * 1e-9,
        bench.flop() / seconds.median * 1e-9);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) { return keyhole::Main(argc, argv); }
