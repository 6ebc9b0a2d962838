// Speed of Linear: one JSON line for each shape, number of rows, format and instruction set.
//
//   linear_bench [--check] [--threads=N] [--levels=best|all] [--model=smollm2|llama3]
//   [--format=f32|bf16|int8|q4_1|torch-bf16|torch-int8|torch-int4] [--rows=1,8,512]
//
// The formats of torch are LibTorch's products (libtorch_linear.h); its inputs and outputs are
// bf16.
// --check runs small shapes for a moment, to see that everything runs. Weights of a shape are held
// several times over, more than caches hold, and used in turn, as a model's layers are.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rand.h>
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "engine/ops/layer_linear.h"
#include "tests/bench/libtorch_linear.h"
#include "tests/support/bench.h"

namespace keyhole {
namespace {

struct Shape {
  std::string_view model;
  std::string_view name;
  std::int64_t n_out;
  std::int64_t n_in;
};

constexpr Shape kShapes[] = {
    {"smollm2", "o", 576, 576},
    {"smollm2", "qkv", 960, 576},
    {"smollm2", "gate_up", 3072, 576},
    {"smollm2", "down", 576, 1536},
    {"smollm2", "output", 49152, 576},
    {"llama3", "o", 4096, 4096},
    {"llama3", "qkv", 6144, 4096},
    {"llama3", "gate_up", 28672, 4096},
    {"llama3", "down", 4096, 14336},
};
constexpr Shape kCheckShapes[] = {
    {"check", "small", 48, 64}, {"check", "odd", 50, 96}, {"check", "even", 64, 64}};

struct Options {
  bool check = false;
  bool all_levels = false;
  int n_threads = 0;
  std::string model;
  std::string format;
  std::vector<std::int64_t> rows = {1, 8, 512};
};

// Cheap numbers without a pattern that matters, in [-0.5, 0.5).
float Noise(std::uint64_t seed) {
  seed = (seed + 1) * 0x9E3779B97F4A7C15ULL;
  return static_cast<float>(seed >> 40) * 0x1p-24F - 0.5F;
}

constexpr std::string_view kFormats[] = {"f32", "bf16", "int8", "q4_1"};

PackedLinear Pack(Device& device, std::string_view format, const Shape& shape) {
  const auto finish = [](absl::StatusOr<PackedLinear> packed) {
    if (packed.ok()) return *std::move(packed);
    fmt::print(stderr, "{}\n", packed.status().ToString());
    std::exit(1);
  };
  if (format == "q4_1") {
    std::vector<std::byte> row(shape.n_in / 32 * 20);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<std::byte>(i * 37 % 59);
    const QuantizedRows rows = {QuantizedEncoding::kQ4_1, [&](std::int64_t) { return row.data(); }};
    return finish(PackedLinear::PackQuantized(device, shape.n_out, shape.n_in, rows));
  }
  const LinearFormat kind = format == "f32"    ? LinearFormat::kF32
                            : format == "bf16" ? LinearFormat::kBF16
                                               : LinearFormat::kInt8;
  const auto rows = [](std::int64_t row, std::span<float> out) {
    for (std::size_t k = 0; k < out.size(); ++k) out[k] = Noise(row * out.size() + k);
  };
  return finish(PackedLinear::Pack(device, kind, shape.n_out, shape.n_in, rows));
}

constexpr std::int64_t kLeastChunk = 32;  // rows that count as one of prefill

// CPU time of this thread, so that other programs on the machine count for less, if one thread does
// all.
double Seconds(bool cpu_time) {
  timespec now = {};
  clock_gettime(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Seconds of a call: the median of batches of calls.
template <class Call>
double Measure(const Options& options, const Call& call) {
  constexpr int kBatches = 9;
  const double least_time = options.check ? 0.0001 : 0.03;
  const bool cpu_time = options.n_threads == 1;
  std::int64_t calls = 1;
  std::int64_t turn = 0;
  const auto batch = [&] {
    const double start = Seconds(cpu_time);
    for (std::int64_t i = 0; i < calls; ++i) call(turn++);
    return Seconds(cpu_time) - start;
  };
  while (batch() < least_time) calls *= 2;
  std::vector<double> seconds(kBatches);
  std::ranges::generate(seconds, batch);
  return Median(std::move(seconds)) / static_cast<double>(calls);
}

// What multiplies, and with which weights.
struct Case {
  std::string_view level;
  std::string_view format;
  int n_threads;
  std::size_t weight_bytes;
};

void Print(const Case& c, const Shape& shape, std::int64_t n, double seconds) {
  const double flops = 2.0 * static_cast<double>(n * shape.n_out * shape.n_in);
  fmt::print(
      R"({{"bench":"linear","model":"{}","weight":"{}","level":"{}","format":"{}","threads":{},)"
      R"("n":{},"n_out":{},"n_in":{},"microseconds":{:.1f},"gflop_per_s":{:.1f},)"
      R"("weight_gb_per_s":{:.2f}}})"
      "\n",
      shape.model,
      shape.name,
      c.level,
      c.format,
      c.n_threads,
      n,
      shape.n_out,
      shape.n_in,
      seconds * 1e6,
      flops / seconds * 1e-9,
      static_cast<double>(c.weight_bytes) / seconds * 1e-9);
  std::fflush(stdout);
}

// Copies of a weight, as many as no cache holds.
template <class Make>
auto Copies(const Options& options, const Make& make) {
  std::vector<decltype(make())> weights;
  weights.push_back(make());
  const std::size_t enough = options.check ? 1 : std::size_t{96} << 20;
  while (weights.size() * weights[0].bytes() < enough) weights.push_back(make());
  return weights;
}

void RunLevel(const Options& options,
              Device& device,
              std::string_view format,
              const Shape& shape,
              const std::vector<PackedLinear>& weights) {
  for (const std::int64_t n : options.rows) {
    at::Tensor x = at::empty({n, shape.n_in}, at::kFloat);
    at::Tensor out = at::empty({n, shape.n_out}, at::kFloat);
    const std::int64_t n_decode = n < kLeastChunk ? n : 0;
    float* values = x.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < x.numel(); ++i) values[i] = Noise(i);
    const double seconds = Measure(options, [&](std::int64_t turn) {
      LayerLinear(device, {&x, n_decode, {}}, weights[turn % weights.size()], {&out});
    });
    Print({CpuLevelName(device.cpu_level()), format, device.pool().n_threads(), weights[0].bytes()},
          shape,
          n,
          seconds);
  }
}

void RunShape(const Options& options, std::string_view format, const Shape& shape) {
  Device packer(options.n_threads);
  const auto weights = Copies(options, [&] { return Pack(packer, format, shape); });
  const auto best = static_cast<int>(DetectCpuLevel());
  for (int level = options.all_levels ? 0 : best; level <= best; ++level) {
    Device device(options.n_threads, static_cast<CpuLevel>(level));
    RunLevel(options, device, format, shape, weights);
  }
}

void RunLibTorch(const Options& options, std::string_view format, const Shape& shape) {
  if (options.n_threads > 0) at::set_num_threads(options.n_threads);
  const auto weights =
      Copies(options, [&] { return LibTorchLinear(format, shape.n_out, shape.n_in); });
  for (const std::int64_t n : options.rows) {
    const at::Tensor x = at::rand({n, shape.n_in}, at::kBFloat16);
    const double seconds = Measure(options, [&](std::int64_t turn) {
      static_cast<void>(weights[turn % weights.size()].Multiply(x));
    });
    Print({"libtorch", format, at::get_num_threads(), weights[0].bytes()}, shape, n, seconds);
  }
}

bool ParseOption(std::string_view argument, Options& options) {
  const std::size_t equals = argument.find('=');
  const std::string_view name = argument.substr(0, equals);
  const std::string value(equals == std::string_view::npos ? "" : argument.substr(equals + 1));
  if (name == "--check") {
    options.check = true;
    options.all_levels = true;
  } else if (name == "--threads") {
    options.n_threads = std::atoi(value.c_str());
  } else if (name == "--levels") {
    options.all_levels = value == "all";
  } else if (name == "--model") {
    options.model = value;
  } else if (name == "--format") {
    options.format = value;
  } else if (name == "--rows") {
    options.rows.clear();
    for (const absl::string_view n : absl::StrSplit(value, ',')) {
      options.rows.push_back(std::atoll(std::string(n).c_str()));
    }
  } else {
    return false;
  }
  return true;
}

int Run(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    if (ParseOption(argv[i], options)) continue;
    fmt::print(stderr, "unknown option {}\n", argv[i]);
    return 2;
  }
  const std::span<const Shape> shapes =
      options.check ? std::span<const Shape>(kCheckShapes) : std::span<const Shape>(kShapes);
  for (const Shape& shape : shapes) {
    if (!options.model.empty() && options.model != shape.model) continue;
    for (const std::string_view format : kFormats) {
      if (options.format.empty() || options.format == format) RunShape(options, format, shape);
    }
    if (shape.n_out % kLibTorchColumns != 0) continue;
    for (const std::string_view format : kLibTorchFormats) {
      if (options.format.empty() || options.format == format) RunLibTorch(options, format, shape);
    }
  }
  return 0;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) { return keyhole::Run(argc, argv); }
