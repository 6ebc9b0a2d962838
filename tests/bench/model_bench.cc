// Speed of the model: one JSON line for each weight mode and depth, with prefill tokens per second
// of one chunk and decode milliseconds per token of one sequence at that depth.
//
//   model_bench MODEL [--threads=N] [--depths=0,2048,4096] [--modes=auto,bf16,f32]
//   [--decode-tokens=N]
#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/weight_source.h"
#include "engine/status_macros.h"
#include "tests/support/bench.h"
#include "tests/support/model_runner.h"

namespace keyhole {
namespace {

constexpr std::int32_t kChunk = 512;

struct Options {
  std::string model;
  int n_threads = 2;
  std::vector<std::string> modes = {"auto", "bf16", "f32"};
  std::vector<std::int32_t> depths = {0, 2048, 4096};
  std::int32_t decode_tokens = 32;
};

absl::StatusOr<WeightMode> ParseMode(const std::string& name) {
  if (name == "auto") return WeightMode::kAuto;
  if (name == "bf16") return WeightMode::kBF16;
  if (name == "f32") return WeightMode::kF32;
  if (name == "int8") return WeightMode::kInt8;
  return absl::InvalidArgumentError("a mode is auto, bf16, f32 or int8");
}

class ModeBench {
 public:
  ModeBench(std::string name, std::unique_ptr<ModelRunner> runner)
      : name_(std::move(name)), runner_(std::move(runner)) {}

  absl::Status Run(std::int32_t depth, std::int32_t decode_tokens) {
    const std::int32_t sequence = runner_->AddSequence(depth + kChunk + decode_tokens);
    const std::vector<TokenId> tokens =
        SomeTokens(depth + kChunk + decode_tokens, runner_->vocab_size());
    const std::span all(tokens);
    KEYHOLE_RETURN_IF_ERROR(runner_->Prefill(sequence, all.first(depth)).status());
    absl::Status status;
    const double prefill = SecondsOf(
        [&] { status = runner_->Prefill(sequence, all.subspan(depth, kChunk)).status(); });
    KEYHOLE_RETURN_IF_ERROR(status);
    runner_->Truncate(sequence, depth);
    std::vector<double> decode;
    const StepTimings before = runner_->timings();
    for (const TokenId& token : all.last(decode_tokens)) {
      decode.push_back(SecondsOf(
          [&] { status.Update(runner_->Prefill(sequence, std::span(&token, 1)).status()); }));
    }
    KEYHOLE_RETURN_IF_ERROR(status);
    const double linear = runner_->timings().linear_seconds - before.linear_seconds;
    const double attention = runner_->timings().attention_seconds - before.attention_seconds;
    std::ranges::sort(decode);
    fmt::print(
        R"({{"mode":"{}","depth":{},"prefill_tokens_per_second":{:.0f},"decode_ms_median":{:.2f},)"
        R"("decode_ms_best":{:.2f},"decode_linear_ms":{:.2f},"decode_attention_ms":{:.2f}}})"
        "\n",
        name_,
        depth,
        kChunk / prefill,
        decode[decode.size() / 2] * 1e3,
        decode.front() * 1e3,
        linear / decode_tokens * 1e3,
        attention / decode_tokens * 1e3);
    std::fflush(stdout);
    return absl::OkStatus();
  }

 private:
  std::string name_;
  std::unique_ptr<ModelRunner> runner_;
};

absl::Status RunMode(const std::string& name,
                     const Options& options,
                     std::shared_ptr<const WeightSource> source) {
  RunnerOptions runner_options;
  KEYHOLE_ASSIGN_OR_RETURN(runner_options.weights, ParseMode(name));
  runner_options.kv = KvType::kBF16;
  runner_options.n_threads = options.n_threads;
  for (const std::int32_t depth : options.depths) {
    runner_options.n_tokens += depth + kChunk + options.decode_tokens;
  }
  std::unique_ptr<ModelRunner> runner;
  absl::Status status;
  const double load_seconds = SecondsOf([&] {
    auto created = ModelRunner::Create(std::move(source), runner_options);
    status = created.status();
    if (created.ok()) runner = *std::move(created);
  });
  KEYHOLE_RETURN_IF_ERROR(status);
  fmt::print(R"({{"mode":"{}","load_seconds":{:.2f}}})"
             "\n",
             name,
             load_seconds);
  ModeBench bench(name, std::move(runner));
  for (const std::int32_t depth : options.depths) {
    KEYHOLE_RETURN_IF_ERROR(bench.Run(depth, options.decode_tokens));
  }
  return absl::OkStatus();
}

absl::StatusOr<Options> ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    bool good = true;
    if (absl::ConsumePrefix(&argument, "--threads=")) {
      good = absl::SimpleAtoi(argument, &options.n_threads);
    } else if (absl::ConsumePrefix(&argument, "--modes=")) {
      options.modes = absl::StrSplit(argument, ',');
    } else if (absl::ConsumePrefix(&argument, "--depths=")) {
      options.depths.clear();
      for (const absl::string_view part : absl::StrSplit(argument, ',')) {
        good &= absl::SimpleAtoi(part, &options.depths.emplace_back());
      }
    } else if (absl::ConsumePrefix(&argument, "--decode-tokens=")) {
      good = absl::SimpleAtoi(argument, &options.decode_tokens) && options.decode_tokens > 0;
    } else {
      good = options.model.empty();
      options.model = std::string(argument);
    }
    if (!good) return absl::InvalidArgumentError(fmt::format("bad argument {}", argv[i]));
  }
  if (options.model.empty()) return absl::InvalidArgumentError("name a model");
  return options;
}

absl::Status Main(int argc, char** argv) {
  KEYHOLE_ASSIGN_OR_RETURN(const Options options, ParseOptions(argc, argv));
  KEYHOLE_ASSIGN_OR_RETURN(const std::shared_ptr<const WeightSource> source,
                           OpenModel(options.model, {}));
  for (const std::string& mode : options.modes) {
    KEYHOLE_RETURN_IF_ERROR(RunMode(mode, options, source));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) {
  const absl::Status status = keyhole::Main(argc, argv);
  if (status.ok()) return 0;
  fmt::print(stderr, "model_bench: {}\n", status.ToString());
  return 1;
}
