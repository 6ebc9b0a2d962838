// What the benchmarks share: clocks, medians, tokens, and the flags of the kernels' benches.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/device/cpu_features.h"
#include "engine/types.h"

namespace keyhole {

// Wall time.
double SecondsOf(absl::FunctionRef<void()> work);

// The upper one of the two in the middle. REQUIRES: not empty.
double Median(std::vector<double> values);

struct RunSeconds {
  double median = 0;
  double best = 0;
};

// Of at least 5 runs that take at least 0.3 s together, after one that touches all memory; `once`:
// of a single run, to see that it works.
RunSeconds MeasureRuns(absl::FunctionRef<void()> work, bool once);

// Ordinary text is not needed: the work hardly depends on the tokens.
std::vector<TokenId> SomeTokens(std::int64_t count, std::int64_t vocab_size);

struct KernelBenchOptions {
  bool check = false;
  int threads = 0;        // 0: all cores
  std::string_view only;  // what a case's name begins with; points into argv
  CpuLevel level = DetectCpuLevel();
};

// [--check] [--threads=N] [--level=L] [--only=NAME]. Errors: INVALID_ARGUMENT with the usage.
absl::StatusOr<KernelBenchOptions> ParseKernelBench(int argc, char** argv);

}  // namespace keyhole
