#include "tests/support/bench.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/status_macros.h"

namespace keyhole {

double SecondsOf(absl::FunctionRef<void()> work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

RunSeconds MeasureRuns(absl::FunctionRef<void()> work, bool once) {
  work();
  std::vector<double> seconds;
  double total = 0;
  while (total < 0.3 || seconds.size() < 5) {
    seconds.push_back(SecondsOf(work));
    total += seconds.back();
    if (once) break;
  }
  return {Median(seconds), *std::ranges::min_element(seconds)};
}

std::vector<TokenId> SomeTokens(std::int64_t count, std::int64_t vocab_size) {
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>((i * 7919 + 13) % vocab_size));
  }
  return tokens;
}

absl::StatusOr<KernelBenchOptions> ParseKernelBench(int argc, char** argv) {
  KernelBenchOptions options;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    bool good = true;
    if (argument == "--check") {
      options.check = true;
    } else if (absl::ConsumePrefix(&argument, "--threads=")) {
      good = absl::SimpleAtoi(argument, &options.threads) && options.threads >= 0;
    } else if (absl::ConsumePrefix(&argument, "--only=")) {
      options.only = std::string_view(argument.data(), argument.size());
    } else if (absl::ConsumePrefix(&argument, "--level=")) {
      KEYHOLE_ASSIGN_OR_RETURN(options.level, ParseCpuLevel(std::string(argument)));
    } else {
      good = false;
    }
    if (!good) {
      return absl::InvalidArgumentError(
          absl::StrCat("usage: ", argv[0], " [--check] [--threads=N] [--level=L] [--only=NAME]"));
    }
  }
  return options;
}

}  // namespace keyhole
