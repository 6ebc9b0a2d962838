// What this machine can do at most, and what our linear kernels reach of it, on one thread and on
// all: one JSON line each. Nothing is faster than its bytes over the memory's rate, or than its
// operations over the arithmetic's.
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/device/aligned_buffer.h"
#include "engine/ops/cpu/tiles.h"
#include "engine/ops/half_float.h"
#include "engine/ops/layer_linear.h"
#include "tests/support/bench.h"

namespace keyhole {
namespace {

constexpr std::int64_t kRounds = 1 << 16;
constexpr int kChains = 12;  // more than latency times units of any core

// Equal chains would be made one.
volatile float different = 0.5F;

__attribute__((target_clones("avx512f", "avx2", "default"))) std::uint64_t Sum(
    const std::uint64_t* values, std::int64_t n) {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += values[i];
  return sum;
}

__attribute__((target("avx2,fma"))) float FmaAvx2() {
  __m256 sums[kChains];
  for (__m256& sum : sums) sum = _mm256_set1_ps(different);
  const __m256 x = _mm256_set1_ps(0.5F);
  for (std::int64_t round = 0; round < kRounds; ++round) {
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, x, x);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
  return _mm256_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f"))) float FmaAvx512() {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_set1_ps(different);
  const __m512 x = _mm512_set1_ps(0.5F);
  for (std::int64_t round = 0; round < kRounds; ++round) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, x, x);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f,avx512vnni"))) float DotInt8() {
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_castps_si512(_mm512_set1_ps(different));
  const __m512i x = _mm512_set1_epi8(1);
  for (std::int64_t round = 0; round < kRounds; ++round) {
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, x, x);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  return static_cast<float>(sums[0][0]);
}

__attribute__((target("avx512f,avx512bf16"))) float DotBf16() {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_set1_ps(different);
  const __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5F), _mm512_set1_ps(0.5F));
  for (std::int64_t round = 0; round < kRounds; ++round) {
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, x, x);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return _mm512_cvtss_f32(sums[0]);
}

constexpr std::int64_t kTileRounds = kRounds / 128;

float TileBf16() {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) config.Set(tile, kTileRows, 64);
  ConfigureTiles(config);
  alignas(64) std::uint16_t values[2][kTileBytes / 2];
  for (int i = 0; i < kTileBytes; ++i) {  // alike ones would take less power than real ones
    values[i % 2][i / 2] = Float32ToBf16(static_cast<float>(i * 37 % 255 - 127) / 128);
  }
  KEYHOLE_TILE_ZERO(0);
  KEYHOLE_TILE_ZERO(1);
  KEYHOLE_TILE_ZERO(2);
  KEYHOLE_TILE_ZERO(3);
  KEYHOLE_TILE_LOAD(4, values[0], 64);
  KEYHOLE_TILE_LOAD(5, values[1], 64);
  KEYHOLE_TILE_LOAD(6, values[0], 64);
  KEYHOLE_TILE_LOAD(7, values[1], 64);
  for (std::int64_t round = 0; round < kTileRounds * kChains / 4; ++round) {
    KEYHOLE_TILE_MULTIPLY_BF16(0, 4, 6);
    KEYHOLE_TILE_MULTIPLY_BF16(1, 4, 7);
    KEYHOLE_TILE_MULTIPLY_BF16(2, 5, 6);
    KEYHOLE_TILE_MULTIPLY_BF16(3, 5, 7);
  }
  alignas(64) float sums[kTileRows * kTileRows];
  KEYHOLE_TILE_STORE(0, sums, 64);
  ReleaseTiles();
  return sums[0];
}

struct Arithmetic {
  std::string_view name;
  float (*run)();
  int operations;  // of one instruction; a product with its sum is two
  std::int64_t rounds = kRounds;
};

// Those of the widest instructions of this machine.
std::vector<Arithmetic> ArithmeticOf(CpuLevel level) {
  std::vector<Arithmetic> all;
  if (level >= CpuLevel::kAvx512) {
    all.push_back({"f32", FmaAvx512, 32});
  } else if (level >= CpuLevel::kAvx2) {
    all.push_back({"f32", FmaAvx2, 16});
  }
  if (__builtin_cpu_supports("avx512bf16") != 0) all.push_back({"bf16", DotBf16, 64});
  if (level >= CpuLevel::kAvx512Vnni) all.push_back({"int8", DotInt8, 128});
  if (level >= CpuLevel::kAmx) {
    all.push_back({"bf16 tiles", TileBf16, 2 * kTileRows * kTileRows * 32, kTileRounds});
  }
  return all;
}

class Roofs {
 public:
  Roofs(const KernelBenchOptions& options, int threads)
      : check_(options.check), device_(threads, options.level) {}

  void RunAll() {
    Memory("memory read", 1024);
    Memory("96 MB read again and again", 96);
    for (const Arithmetic& arithmetic : ArithmeticOf(device_.cpu_level())) Peak(arithmetic);
    Product("f32", LinearFormat::kF32);
    Product("bf16", LinearFormat::kBF16);
    Product("int8", LinearFormat::kInt8);
  }

 private:
  // Large pages, as weights and KV pages have. A last level cache that other machines share gives
  // back some of what fits into it.
  void Memory(std::string_view name, std::int64_t megabytes) {
    constexpr std::int64_t kPart = 1 << 17;  // of 8 bytes
    const std::int64_t n_parts = check_ ? 2 : megabytes;
    const AlignedBuffer buffer = AlignedBuffer::Allocate(n_parts * kPart * sizeof(std::uint64_t));
    auto* memory = reinterpret_cast<std::uint64_t*>(buffer.data());
    if (memory == nullptr) return;
    std::fill_n(memory, n_parts * kPart, 1);
    std::vector<std::uint64_t> sums(n_parts);
    const RunSeconds seconds = Measure([&] {
      device_.pool().ParallelFor(
          n_parts, [&](std::int64_t part) { sums[part] = Sum(memory + part * kPart, kPart); });
    });
    Print("roof", name, static_cast<double>(buffer.size()) / seconds.median, "GB/s");
  }

  void Peak(const Arithmetic& arithmetic) {
    const int n_tasks = 8 * device_.pool().n_threads();
    std::vector<float> sums(n_tasks);
    const RunSeconds seconds = Measure([&] {
      device_.pool().ParallelFor(n_tasks, [&](std::int64_t i) { sums[i] = arithmetic.run(); });
    });
    const double operations =
        static_cast<double>(arithmetic.rounds) * kChains * arithmetic.operations * n_tasks;
    Print("roof", arithmetic.name, operations / seconds.median, "GOP/s");
  }

  // A prefill chunk of 512 rows by a matrix that caches hold.
  void Product(std::string_view name, LinearFormat format) {
    const std::int64_t n_rows = check_ ? 4 : 512;
    constexpr std::int64_t kSize = 576;
    auto packed = PackedLinear::Pack(
        device_, format, kSize, kSize, [](std::int64_t row, std::span<float> out) {
          for (std::size_t k = 0; k < out.size(); ++k) {
            out[k] = static_cast<float>((static_cast<std::size_t>(row) * 31 + k * 17) % 255) - 127;
          }
        });
    if (!packed.ok()) return;
    const at::Tensor x = at::full({n_rows, kSize}, 0.5, at::kFloat);
    at::Tensor out = at::full({n_rows, kSize}, 0.0, at::kFloat);
    const RunSeconds seconds = Measure([&] {
      LayerLinear(device_, {&x, 0, {}}, *packed, {&out, nullptr});
    });
    Print("linear", name, 2.0 * n_rows * kSize * kSize / seconds.median, "GOP/s");
  }

  RunSeconds Measure(absl::FunctionRef<void()> run) { return MeasureRuns(run, check_); }

  void Print(std::string_view kind, std::string_view name, double rate, std::string_view unit) {
    fmt::print(R"({{"bench": "roofs", "kind": "{}", "name": "{}", "threads": {}, "level": "{}", )"
               R"("value": {:.1f}, "unit": "{}"}})"
               "\n",
               kind,
               name,
               device_.pool().n_threads(),
               CpuLevelName(device_.cpu_level()),
               rate * 1e-9,
               unit);
    std::fflush(stdout);
  }

  bool check_;
  Device device_;
};

int Main(int argc, char** argv) {
  const absl::StatusOr<KernelBenchOptions> options = ParseKernelBench(argc, argv);
  if (!options.ok()) {
    fmt::print(stderr, "{}\n", options.status().ToString());
    return 2;
  }
  const int all = Device(options->threads).pool().n_threads();
  Roofs(*options, 1).RunAll();
  if (all > 1) Roofs(*options, all).RunAll();
  return 0;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) { return keyhole::Main(argc, argv); }
