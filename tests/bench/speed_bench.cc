// One figure of the engine's speed or memory, in the terms in which tests/bench/run.sh compares it:
// one JSON line with the median of some runs. The past is synthetic (tests/support/long_context.h),
// save for `ttft`, which reads a whole prompt through the engine.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/engine_config.h"
#include "engine/status_macros.h"
#include "tests/support/bench.h"
#include "tests/support/long_context.h"
#include "tests/support/recording_sink.h"

namespace keyhole {
namespace {

constexpr int kUnsupported = 3;          // exit status
constexpr double kRunSeconds = 0.25;     // a run of decode takes at least this long, or one step
constexpr std::int32_t kMostSteps = 64;  // of a run of decode

struct Options {
  EngineConfig engine;
  std::string name;
  std::string kv = "bf16";
  std::int32_t depth = 0;
  std::int32_t sequences = 8;
  std::int32_t repeats = 5;

  std::int32_t chunk() const { return engine.scheduler.chunk_size; }
  std::int32_t decode_room() const { return 2 + repeats * kMostSteps; }
};

struct Figure {
  double value = 0;
  std::string unit;
  double base = 0;  // 0: the case has none
};

// Median seconds of steps that append one token to each sequence, at the depth they have.
absl::StatusOr<double> DecodeSeconds(ModelRunner& runner,
                                     std::span<const std::int32_t> sequences,
                                     std::int32_t repeats) {
  const std::vector<TokenId> token = SomeTokens(1, runner.vocab_size());
  std::vector<RunnerSlice> slices;
  for (const std::int32_t sequence : sequences) slices.push_back({sequence, token});
  absl::Status status;
  const auto step = [&] { status.Update(runner.Step(slices).status()); };
  step();  // fills the window of rotated keys
  const double once = SecondsOf(step);
  const auto n_steps =
      static_cast<std::int32_t>(std::clamp<double>(kRunSeconds / once, 1, kMostSteps));
  std::vector<double> seconds;
  for (std::int32_t i = 0; i < repeats; ++i) {
    seconds.push_back(SecondsOf([&] {
      for (std::int32_t n = 0; n < n_steps; ++n) step();
    }));
    seconds.back() /= n_steps;
  }
  KEYHOLE_RETURN_IF_ERROR(status);
  return Median(seconds);
}

// Sequences whose prompt ends at the depth, each in memory of its own.
absl::StatusOr<std::vector<std::int32_t>> FillPrompts(LongContext& context,
                                                      const Options& options,
                                                      std::int32_t count,
                                                      std::int32_t room) {
  RunnerSequence prompt;
  prompt.capacity = options.depth + room;
  prompt.prompt_len = std::max(1, options.depth);
  std::vector<std::int32_t> sequences;
  for (std::int32_t i = 0; i < count; ++i) {
    KEYHOLE_ASSIGN_OR_RETURN(sequences.emplace_back(), context.Fill(options.depth, prompt));
  }
  return sequences;
}

absl::StatusOr<Figure> Decode(const Options& options) {
  const std::int32_t room = options.decode_room();
  KEYHOLE_ASSIGN_OR_RETURN(auto context, LongContext::Create(options.engine, options.depth + room));
  KEYHOLE_ASSIGN_OR_RETURN(const auto sequences, FillPrompts(*context, options, 1, room));
  KEYHOLE_ASSIGN_OR_RETURN(const double seconds,
                           DecodeSeconds(context->runner(), sequences, options.repeats));
  return Figure{seconds * 1e3, "ms/token"};
}

// Tokens a second of all sequences together; the base is one of them alone.
absl::StatusOr<Figure> Batch(const Options& options) {
  const std::int32_t room = 2 * options.decode_room();
  const std::int32_t n = options.sequences;
  KEYHOLE_ASSIGN_OR_RETURN(auto context,
                           LongContext::Create(options.engine, n * (options.depth + room)));
  KEYHOLE_ASSIGN_OR_RETURN(const auto sequences, FillPrompts(*context, options, n, room));
  KEYHOLE_ASSIGN_OR_RETURN(
      const double one,
      DecodeSeconds(context->runner(), std::span(sequences).last(1), options.repeats));
  KEYHOLE_ASSIGN_OR_RETURN(const double all,
                           DecodeSeconds(context->runner(), sequences, options.repeats));
  return Figure{n / all, "tokens/s", 1 / one};
}

// A chunk in the middle of a longer prompt, behind a chunk that was really read.
absl::StatusOr<Figure> Prefill(const Options& options) {
  const std::int32_t chunk = options.chunk();
  const std::int32_t filled = std::max(0, options.depth - chunk);
  RunnerSequence prompt;
  prompt.capacity = options.depth + chunk;
  KEYHOLE_ASSIGN_OR_RETURN(auto context, LongContext::Create(options.engine, prompt.capacity));
  prompt.prompt_len = prompt.capacity + std::max(chunk, context->attention().distances.tail);
  KEYHOLE_ASSIGN_OR_RETURN(const std::int32_t sequence, context->Fill(filled, prompt));
  ModelRunner& runner = context->runner();
  const std::vector<TokenId> tokens = SomeTokens(chunk, runner.vocab_size());
  KEYHOLE_RETURN_IF_ERROR(runner.Prefill(sequence, tokens).status());
  std::vector<double> seconds;
  absl::Status status;
  for (std::int32_t i = 0; i < options.repeats; ++i) {
    runner.Truncate(sequence, options.depth);
    seconds.push_back(SecondsOf([&] { status.Update(runner.Prefill(sequence, tokens).status()); }));
  }
  KEYHOLE_RETURN_IF_ERROR(status);
  return Figure{Median(seconds) * 1e3, "ms/chunk"};
}

// The whole prompt, each time anew, to its first token.
absl::StatusOr<Figure> TimeToFirstToken(const Options& options) {
  EngineConfig config = options.engine;
  config.kv.prefix_cache_bytes = 0;
  KEYHOLE_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Create(config, nullptr));
  Request request;
  request.prompt = SomeTokens(options.depth, engine->model().config.vocab_size);
  request.stopping.max_output_tokens = 1;
  request.stopping.ignore_eos = true;
  std::vector<double> seconds;
  for (std::int32_t i = 0; i < options.repeats; ++i) {
    const auto recording = std::make_shared<testing::Recording>();
    absl::Status status;
    seconds.push_back(SecondsOf([&] {
      status =
          engine->Submit(request, std::make_unique<testing::RecordingSink>(recording)).status();
      if (status.ok()) recording->WaitForEnd(absl::Hours(2));
    }));
    KEYHOLE_RETURN_IF_ERROR(status);
    const testing::Recording::Events events = recording->events();
    if (events.failed) return *events.failed;
    if (!events.finished) return absl::DeadlineExceededError("no first token within two hours");
  }
  return Figure{Median(seconds), "s"};
}

// Of this process so far, in MB.
double PeakMemory() {
  std::ifstream status("/proc/self/status");
  double kilobytes = 0;
  for (std::string name; status >> name;) {
    if (name == "VmHWM:") status >> kilobytes;
  }
  return kilobytes * 1024e-6;
}

// A prompt's last chunk and a few steps of decode, at the depth.
absl::StatusOr<Figure> Memory(const Options& options) {
  const std::int32_t n_decode = 4;
  RunnerSequence prompt;
  prompt.capacity = options.depth + n_decode;
  prompt.prompt_len = options.depth;
  KEYHOLE_ASSIGN_OR_RETURN(auto context, LongContext::Create(options.engine, prompt.capacity));
  KEYHOLE_ASSIGN_OR_RETURN(const std::int32_t sequence,
                           context->Fill(options.depth - options.chunk(), prompt));
  ModelRunner& runner = context->runner();
  const std::vector<TokenId> tokens = SomeTokens(options.chunk(), runner.vocab_size());
  KEYHOLE_RETURN_IF_ERROR(runner.Prefill(sequence, tokens).status());
  for (const TokenId& token : std::span(tokens).first(n_decode)) {
    KEYHOLE_RETURN_IF_ERROR(runner.Prefill(sequence, {&token, 1}).status());
  }
  return Figure{PeakMemory(), "MB"};
}

absl::Status SetKvType(const std::string& name, KvSettings& kv) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    if (KvTypeName(type) != name) continue;
    kv.type = type;
    return absl::OkStatus();
  }
  return absl::UnimplementedError(fmt::format("KV rows of type {} are not supported", name));
}

absl::Status Run(Options options) {
  KEYHOLE_RETURN_IF_ERROR(SetKvType(options.kv, options.engine.kv));
  const auto measure = options.name == "decode"    ? Decode
                       : options.name == "prefill" ? Prefill
                       : options.name == "batch"   ? Batch
                       : options.name == "ttft"    ? TimeToFirstToken
                                                   : Memory;
  KEYHOLE_ASSIGN_OR_RETURN(const Figure figure, measure(options));
  fmt::print(R"({{"case": "{}", "depth": {}, "value": {:.6g}, "unit": "{}")",
             options.name,
             options.depth,
             figure.value,
             figure.unit);
  if (figure.base > 0) fmt::print(R"(, "base": {:.6g})", figure.base);
  fmt::print("}}\n");
  return absl::OkStatus();
}

void AddOptions(CLI::App* app, Options* options) {
  SelectionSettings& selection = options->engine.selection;
  app->add_option("model", options->engine.model.path, "As keyhole-server's --model")->required();
  app->add_option("--case", options->name)
      ->required()
      ->check(CLI::IsMember({"decode", "prefill", "batch", "ttft", "memory"}));
  app->add_option("--depth", options->depth, "Tokens before the step, or of the whole prompt")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--repeats", options->repeats, "Runs, of which the median is told")
      ->check(CLI::PositiveNumber);
  app->add_option("--sequences", options->sequences, "Of case batch")->check(CLI::PositiveNumber);
  app->add_option("--kv", options->kv, "Type of the KV rows");
  app->add_option("--threads", options->engine.threads, "0: all cores");
  app->add_option("--chunk-size", options->engine.scheduler.chunk_size);
  app->add_option("--policy", selection.policy);
  app->add_option("--local", selection.local);
  app->add_option("--prefill-local", selection.prefill_local);
  app->add_option("--coarse-dims", selection.coarse_dims);
  app->add_option("--fine-rows", selection.fine_rows);
  app->add_option("--recall-interval", selection.recall_interval);
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) {
  keyhole::Options options;
  CLI::App app("one figure of the engine's speed or memory");
  keyhole::AddOptions(&app, &options);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = keyhole::Run(options);
  if (status.ok()) return 0;
  fmt::print(stderr, "speed_bench: {}\n", status.ToString());
  return absl::IsUnimplemented(status) ? keyhole::kUnsupported : 1;
}
