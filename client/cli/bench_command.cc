// `keyhole bench`: closed-loop load with synthetic prompts of a given length.
#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/printer.h"
#include "fmt/format.h"

namespace keyhole::cli {
namespace {

struct BenchFlags {
  int requests = 16;
  int concurrency = 4;
  int prompt_tokens = 512;
  int output_tokens = 64;
  std::uint64_t seed = 1;
};

// Seconds of each sample.
struct Samples {
  std::vector<double> ttft;
  std::vector<double> tpot;  // after the first token
  std::int64_t output_tokens = 0;
  int failed = 0;
  grpc::Status first_failure;
};

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * (values.size() - 1) + 0.5)];
}

v1::GenerateRequest MakeRequest(const BenchFlags& flags, int vocab_size, int index) {
  v1::GenerateRequest request;
  std::mt19937_64 random(flags.seed * 1'000'003 + index);
  std::uniform_int_distribution<int> token(0, vocab_size - 1);
  for (int i = 0; i < flags.prompt_tokens; ++i) request.mutable_token_ids()->add_ids(token(random));
  request.mutable_stopping()->set_max_output_tokens(flags.output_tokens);
  request.mutable_stopping()->set_ignore_eos(true);
  return request;
}

// One request; times are taken at the client.
void RunOne(const Session& session,
            const v1::GenerateRequest& request,
            Samples* samples,
            std::mutex* mutex) {
  const absl::Time start = absl::Now();
  absl::Time first = absl::InfiniteFuture();
  v1::Finished finished;
  const auto status = session.client->StreamGenerate(
      request, session.call(), [&](const v1::StreamGenerateResponse& event) {
        if (event.has_chunk()) first = std::min(first, absl::Now());
        if (event.has_finished()) finished = event.finished();
      });
  const absl::Time end = absl::Now();
  const int tokens = finished.usage().output_token_count();
  std::lock_guard lock(*mutex);
  if (!status.ok()) {
    if (samples->failed++ == 0) samples->first_failure = status;
    return;
  }
  first = std::min(first, end);
  samples->ttft.push_back(absl::ToDoubleSeconds(first - start));
  if (tokens > 1) samples->tpot.push_back(absl::ToDoubleSeconds(end - first) / (tokens - 1));
  samples->output_tokens += tokens;
}

void PrintResult(const BenchFlags& flags, const Samples& samples, double seconds, bool json) {
  const double rate = samples.output_tokens / seconds;
  const double prompt_rate =
      samples.ttft.size() * static_cast<double>(flags.prompt_tokens) / seconds;
  if (json) {
    fmt::print(
        R"({{"requests": {}, "failed": {}, "concurrency": {}, "prompt_tokens": {}, "output_tokens": {}, )"
        R"("seconds": {:.3f}, "output_tokens_per_second": {:.2f}, "prompt_tokens_per_second": {:.1f}, )"
        R"("ttft_seconds": {{"p50": {:.4f}, "p90": {:.4f}, "p99": {:.4f}}}, )"
        R"("tpot_seconds": {{"p50": {:.5f}, "p90": {:.5f}, "p99": {:.5f}}}}})"
        "\n",
        flags.requests,
        samples.failed,
        flags.concurrency,
        flags.prompt_tokens,
        flags.output_tokens,
        seconds,
        rate,
        prompt_rate,
        Quantile(samples.ttft, 0.5),
        Quantile(samples.ttft, 0.9),
        Quantile(samples.ttft, 0.99),
        Quantile(samples.tpot, 0.5),
        Quantile(samples.tpot, 0.9),
        Quantile(samples.tpot, 0.99));
    return;
  }
  fmt::print(
      "{} requests ({} failed), {} at a time, {} prompt tokens, {} output tokens, {:.1f} s\n",
      flags.requests,
      samples.failed,
      flags.concurrency,
      flags.prompt_tokens,
      flags.output_tokens,
      seconds);
  fmt::print(
      "throughput             {:.1f} output tokens/s, {:.0f} prompt tokens/s\n", rate, prompt_rate);
  fmt::print("time to first token    p50 {:.3f}  p90 {:.3f}  p99 {:.3f} s\n",
             Quantile(samples.ttft, 0.5),
             Quantile(samples.ttft, 0.9),
             Quantile(samples.ttft, 0.99));
  fmt::print("time per output token  p50 {:.1f}  p90 {:.1f}  p99 {:.1f} ms\n",
             1e3 * Quantile(samples.tpot, 0.5),
             1e3 * Quantile(samples.tpot, 0.9),
             1e3 * Quantile(samples.tpot, 0.99));
}

int RunBench(const Session& session, const BenchFlags& flags) {
  v1::GetModelResponse model;
  if (auto status = session.client->GetModel(session.call(), &model); !status.ok())
    return ReportFailure(status);
  Samples samples;
  std::mutex mutex;
  std::atomic<int> next{0};
  const absl::Time start = absl::Now();
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < flags.concurrency; ++i) {
      workers.emplace_back([&] {
        for (int index = next++; index < flags.requests && !session.interrupt->requested();
             index = next++) {
          RunOne(session, MakeRequest(flags, model.vocabulary_size(), index), &samples, &mutex);
        }
      });
    }
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  PrintResult(flags, samples, seconds, session.options->json);
  return samples.failed > 0 ? ReportFailure(samples.first_failure) : kOk;
}

}  // namespace

Command AddBenchCommand(CLI::App* app) {
  auto flags = std::make_shared<BenchFlags>();
  app->add_option("--requests", flags->requests, "how many")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  app->add_option("--concurrency", flags->concurrency, "how many at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app->add_option("--prompt-tokens", flags->prompt_tokens, "length of each prompt")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000'000));
  app->add_option("--output-tokens", flags->output_tokens, "length of each answer")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  app->add_option("--seed", flags->seed, "of the prompts")->capture_default_str();
  return [flags](const Session& session) { return RunBench(session, *flags); };
}

}  // namespace keyhole::cli
