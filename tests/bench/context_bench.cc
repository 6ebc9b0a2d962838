// Time of one decode step and one prefill chunk against the length of what precedes them: one JSON
// line a case, with the share of each stage and the bytes it must read.
// The context is synthetic: tests/support/long_context.h.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/device/trace.h"
#include "engine/engine_config.h"
#include "engine/status_macros.h"
#include "tests/support/bench.h"
#include "tests/support/long_context.h"

namespace keyhole {
namespace {

struct Options {
  EngineConfig engine;
  std::vector<std::int32_t> depths = {0, 8192, 32768, 131072};
  std::int32_t steps = 16;  // decode steps of a case
  std::int32_t chunks = 5;  // prefill chunks of a case
};

// Seconds of the stages of one step; `total` is wall time.
struct Stages {
  double total = 0;
  double linear = 0;
  double compress = 0;
  double score = 0;
  double top_k = 0;
  double attend = 0;

  double other() const { return total - linear - compress - score - top_k - attend; }
};

class ContextBench {
 public:
  ContextBench(const Options& options, std::unique_ptr<LongContext> context)
      : options_(options), context_(std::move(context)), runner_(&context_->runner()) {}

  // The steps of all cases, but for what fills the context.
  absl::Status StartTrace() {
    const TraceSettings& settings = options_.engine.trace;
    if (settings.path.empty()) return absl::OkStatus();
    KEYHOLE_ASSIGN_OR_RETURN(trace_, Trace::Create(settings.path, settings.steps));
    runner_->device().set_trace(trace_.get());
    return absl::OkStatus();
  }

  absl::Status Fill() {
    RunnerSequence longest;
    longest.capacity = *std::ranges::max_element(options_.depths);
    KEYHOLE_ASSIGN_OR_RETURN(base_, context_->Fill(longest.capacity, longest));
    return absl::OkStatus();
  }

  absl::Status Decode(std::int32_t depth) {
    const std::int32_t sequence = Fork(depth, depth + options_.steps + 1, depth);
    const std::vector<TokenId> token = SomeTokens(1, runner_->vocab_size());
    std::vector<Stages> steps;
    // The first step fills the window of rotated keys.
    for (std::int32_t i = 0; i <= options_.steps; ++i) {
      KEYHOLE_ASSIGN_OR_RETURN(const Stages stages, Time(sequence, token));
      if (i > 0) steps.push_back(stages);
    }
    Print("decode", depth, 1, steps);
    return absl::OkStatus();
  }

  absl::Status Prefill(std::int32_t depth) {
    const std::int32_t before = std::max(0, depth - chunk());
    const std::int32_t capacity = depth + chunk();
    const std::int32_t sequence =
        Fork(before, capacity, capacity + context_->attention().distances.tail);
    const std::vector<TokenId> tokens = SomeTokens(chunk(), runner_->vocab_size());
    if (depth > before) KEYHOLE_RETURN_IF_ERROR(Time(sequence, tokens).status());
    std::vector<Stages> steps;
    for (std::int32_t i = 0; i < options_.chunks; ++i) {
      runner_->Truncate(sequence, depth);
      KEYHOLE_ASSIGN_OR_RETURN(const Stages stages, Time(sequence, tokens));
      steps.push_back(stages);
    }
    Print("prefill", depth, chunk(), steps);
    return absl::OkStatus();
  }

 private:
  std::int32_t chunk() const { return options_.engine.scheduler.chunk_size; }

  // A sequence whose first `shared` tokens are the filled context's.
  std::int32_t Fork(std::int32_t shared, std::int32_t capacity, std::int32_t prompt_len) {
    RunnerSequence sequence;
    sequence.capacity = capacity;
    sequence.prompt_len = prompt_len;
    sequence.shared_tokens = shared;
    sequence.shared_from = base_;
    return runner_->AddSequence(sequence);
  }

  absl::StatusOr<Stages> Time(std::int32_t sequence, std::span<const TokenId> tokens) {
    const StepTimings before = runner_->timings();
    absl::Status status;
    Stages stages;
    stages.total = SecondsOf([&] { status = runner_->Prefill(sequence, tokens).status(); });
    KEYHOLE_RETURN_IF_ERROR(status);
    if (trace_ != nullptr) KEYHOLE_RETURN_IF_ERROR(trace_->EndStep());
    const StepTimings& after = runner_->timings();
    stages.linear = after.linear_seconds - before.linear_seconds;
    const double selection = after.selection_seconds - before.selection_seconds;
    stages.attend = after.attention_seconds - before.attention_seconds - selection;
    for (LayerSelection layer : runner_->selection().layers) {
      stages.compress += layer[SelectionStage::kCompress];
      stages.score += layer[SelectionStage::kScore];
      stages.top_k += layer[SelectionStage::kTopK];
    }
    return stages;
  }

  double DigestBytes(const LayerSelection& layer) const {
    const DigestLayout& layout = runner_->digests()->layout();
    double bytes = static_cast<double>(layer.scored) * static_cast<double>(layout.token_bytes());
    if (layer.scored < layer.candidates) {  // coarse ones told which
      bytes += static_cast<double>(layer.candidates) *
               static_cast<double>(layout.coarse_block_bytes()) / kDigestBlockTokens;
    }
    return bytes;
  }

  // Bytes of digests that the last step scored, and of rows that it attended to, in all layers.
  std::pair<double, double> BytesRead(std::int32_t depth, std::int32_t n_tokens) const {
    double digests = 0;
    double rows = 0;
    const auto row_bytes = static_cast<double>(runner_->store().layout().row_bytes());
    for (const LayerSelection& layer : runner_->selection().layers) {
      if (layer.scored > 0) digests += DigestBytes(layer);
      rows += static_cast<double>(depth - layer.candidates + layer.selected + n_tokens) * row_bytes;
    }
    if (runner_->selection().layers.empty()) {
      rows = static_cast<double>(depth + n_tokens) * row_bytes * runner_->store().layout().n_layers;
    }
    return {digests, rows};
  }

  void Print(const char* phase,
             std::int32_t depth,
             std::int32_t n_tokens,
             const std::vector<Stages>& steps) const {
    const auto median = [&](auto stage) {
      std::vector<double> values;
      for (const Stages& step : steps) values.push_back(stage(step));
      return Median(std::move(values));
    };
    const double total = median([](const Stages& s) { return s.total; });
    const auto share = [&](auto stage) { return median(stage) / total; };
    const auto [digests, rows] = BytesRead(depth, n_tokens);
    fmt::print(
        R"({{"name":"{}","policy":"{}","depth":{},"tokens":{},"ms":{:.2f},"tokens_per_second":{:.1f},)"
        R"("shares":{{"linear":{:.3f},"compress":{:.3f},"score":{:.3f},"top_k":{:.3f},)"
        R"("attend":{:.3f},"other":{:.3f}}},)"
        R"("megabytes":{{"weights":{:.1f},"digests":{:.1f},"rows":{:.1f}}}}})"
        "\n",
        phase,
        options_.engine.selection.policy,
        depth,
        n_tokens,
        total * 1e3,
        n_tokens / total,
        share([](const Stages& s) { return s.linear; }),
        share([](const Stages& s) { return s.compress; }),
        share([](const Stages& s) { return s.score; }),
        share([](const Stages& s) { return s.top_k; }),
        share([](const Stages& s) { return s.attend; }),
        share([](const Stages& s) { return s.other(); }),
        static_cast<double>(runner_->model().weight_bytes()) * 1e-6,
        digests * 1e-6,
        rows * 1e-6);
    std::fflush(stdout);
  }

  const Options& options_;
  std::unique_ptr<Trace> trace_;  // or null; outlives who writes to it
  std::unique_ptr<LongContext> context_;
  ModelRunner* runner_;
  std::int32_t base_ = 0;
};

absl::Status Run(const Options& options) {
  const EngineConfig& config = options.engine;
  const std::int32_t longest = *std::ranges::max_element(options.depths);
  const std::int32_t n_tokens =
      longest + static_cast<std::int32_t>(options.depths.size()) *
                    (2 * config.scheduler.chunk_size + options.steps + config.kv.page_size);
  KEYHOLE_ASSIGN_OR_RETURN(auto context, LongContext::Create(config, n_tokens));
  ContextBench bench(options, std::move(context));
  KEYHOLE_RETURN_IF_ERROR(bench.Fill());
  KEYHOLE_RETURN_IF_ERROR(bench.StartTrace());
  for (const std::int32_t depth : options.depths) {
    KEYHOLE_RETURN_IF_ERROR(bench.Decode(depth));
    KEYHOLE_RETURN_IF_ERROR(bench.Prefill(depth));
  }
  return absl::OkStatus();
}

void AddOptions(CLI::App* app, Options* options) {
  SelectionSettings& selection = options->engine.selection;
  app->add_option("model", options->engine.model.path, "As keyhole-server's --model")->required();
  app->add_option("--depths", options->depths, "Tokens before the step; multiples of the page size")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber);
  app->add_option("--policy", selection.policy);
  app->add_option("--initial", selection.initial);
  app->add_option("--local", selection.local);
  app->add_option("--prefill-local", selection.prefill_local);
  app->add_option("--selected", selection.selected);
  app->add_option("--probes", selection.probes);
  app->add_option("--coarse-dims", selection.coarse_dims);
  app->add_option("--fine-rows", selection.fine_rows);
  app->add_option("--chunk-size", options->engine.scheduler.chunk_size);
  app->add_option("--threads", options->engine.threads, "0: all cores");
  app->add_option("--steps", options->steps, "Decode steps of a case")->check(CLI::PositiveNumber);
  app->add_option("--chunks", options->chunks, "Prefill chunks of a case")
      ->check(CLI::PositiveNumber);
  app->add_option("--trace-file", options->engine.trace.path, "As keyhole-server's");
  selection.recall_interval = 0;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) {
  keyhole::Options options;
  CLI::App app("decode and prefill against context length");
  keyhole::AddOptions(&app, &options);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = keyhole::Run(options);
  if (status.ok()) return 0;
  fmt::print(stderr, "context_bench: {}\n", status.ToString());
  return 1;
}
