// Speed of the operators on a GPU at the shape of an 8B model: selection against the bytes it
// reads, gather against the bus, attention against its rows. Prints one JSON object a line.
// `--check` runs small sizes once, to see that it works; a further argument names the benches to
// run.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deque>
#include <numeric>
#include <random>
#include <set>
#include <string_view>

#include "engine/device/device_error.h"
#include "engine/device/pinned_buffer.h"
#include "engine/ops/cuda/append_digests.h"
#include "engine/ops/cuda/append_kv.h"
#include "engine/ops/cuda/attend_rows.h"
#include "engine/ops/cuda/gather_rows.h"
#include "engine/ops/cuda/max_pool.h"
#include "engine/ops/cuda/score_rows.h"
#include "engine/ops/cuda/top_k.h"
#include "engine/runtime/available_memory.h"
#include "tests/bench/gpu/gpu_bench.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 64;
constexpr std::int32_t kHeads = 32;
constexpr std::int32_t kKvHeads = 8;
constexpr std::int32_t kDim = 128;
constexpr std::int32_t kRank = kDim / 2;  // of a digest, as a calibration makes it by default
constexpr KvLayout kLayout = {
    .n_layers = 1, .n_kv_heads = kKvHeads, .head_dim = kDim, .page_size = kPage};

// Much more than a cache of 50 MB holds.
constexpr std::size_t kUncached = std::size_t{256} << 20;

// A share of the host's memory, so that rows lie as far apart as those of a full cache do and the
// bus's addresses have to be translated anew.
constexpr std::size_t kMaxPool = std::size_t{32} << 30;
std::size_t PoolBytes() {
  return std::min(kMaxPool, static_cast<std::size_t>(ValueOrThrow(AvailableMemory())) / 4);
}

std::string Times(const Microseconds& time) {
  return fmt::format("\"median_us\": {:.2f}, \"best_us\": {:.2f}", time.median, time.best);
}

// `bytes` in the median time, and that as a share of a roof in bytes a second.
std::string Rate(double bytes, const Microseconds& time, double roof) {
  const double rate = bytes / time.median * 1e6;
  return fmt::format("\"gb_s\": {:.1f}, \"of_roof\": {:.3f}", rate / 1e9, rate / roof);
}

class KernelsBench {
 public:
  KernelsBench(GpuBench& gpu, std::string_view only) : gpu_(gpu), only_(only) {}

  void RunAll() {
    if (Wanted("bandwidth")) {
      gpu_.Print("bandwidth", fmt::format("\"gb_s\": {:.1f}", gpu_.device_bandwidth() / 1e9));
    }
    const std::vector<std::int32_t> sizes =
        gpu_.check() ? std::vector{100, 5000} : std::vector{8192, 32768, 131072, 1 << 20};
    for (const std::int32_t n : sizes) {
      for (const std::int32_t rank : {16, 32, kRank}) {
        for (const std::int32_t probes : {1, 8}) Score(n, rank, probes);
      }
      Pool(n);
      for (const std::int32_t n_seqs : {1, 8}) TopK(n, n_seqs);
    }
    for (const std::int32_t row_bytes : {256, 768, 2048, 4096, 16384}) Gather(row_bytes);
    for (const std::int32_t n : gpu_.check() ? std::vector{300} : std::vector{1664, 4736, 131072}) {
      for (const std::int32_t n_seqs : {1, 8}) Decode(n, n_seqs);
    }
    for (const std::int32_t q_len : gpu_.check() ? std::vector{40} : std::vector{16, 512}) {
      Prefill(q_len);
      Append(q_len);
    }
    Append(1);
  }

 private:
  // Layers that calls take in turn, so that none finds its bytes in a cache.
  std::int32_t LayersFor(std::size_t layer_bytes) const {
    if (gpu_.check()) return 2;
    return static_cast<std::int32_t>(kUncached / std::min(layer_bytes, kUncached));
  }

  bool Wanted(std::string_view name) const { return only_.empty() || only_ == name; }

  cuda::DevicePageTable Pages(std::int32_t n_rows) {
    std::vector<PageId> pages(PagesForTokens(n_rows, kPage));
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), random_);
    return {gpu_.ToDevice(pages), static_cast<std::int32_t>(pages.size())};
  }

  std::vector<float> Normal(std::size_t n) {
    std::normal_distribution<float> normal;
    std::vector<float> x(n);
    for (float& value : x) value = normal(random_);
    return x;
  }

  void Score(std::int32_t n, std::int32_t rank, std::int32_t probes) {
    if (!Wanted("score")) return;
    DigestLayout layout = {.n_slots = 1, .n_groups = kKvHeads, .rank = rank, .page_size = kPage};
    const cuda::DevicePageTable pages = Pages(n);
    layout.n_slots = LayersFor(layout.page_bytes() * pages.n);
    std::vector<std::int8_t> queries(std::size_t(probes) * kHeads * rank);
    for (std::int8_t& x : queries) x = static_cast<std::int8_t>(random_());
    const cuda::ScoreRowsParams params = {
        .store = {gpu_.Take<std::uint8_t>(layout.page_bytes() * pages.n), layout},
        .pages = pages,
        .rows = {0, n},
        .n_probes = probes,
        .queries = gpu_.ToDevice(queries),
        .scales = gpu_.ToDevice(std::vector<float>(probes * kHeads, 1e-4F)),
        .out = gpu_.Take<float>(n)};
    cuda::ScoreRowsArgs args =
        cuda::PlanScoreRows({.n_heads = kHeads}, {&params, 1}, gpu_.workspace());
    const Microseconds time = gpu_.Time([&] {
      cuda::CheckLaunch(cuda::LaunchScoreRows(args, gpu_.stream().handle()), "score");
      args.slot = (args.slot + 1) % layout.n_slots;
    });
    const double once = static_cast<double>(layout.token_bytes()) * n;
    gpu_.Print("score",
               fmt::format("\"n\": {}, \"digest_bytes\": {}, \"probes\": {}, {}, "
                           "\"reads_of_digests\": 2, {}",
                           n,
                           layout.token_bytes(),
                           probes,
                           Times(time),
                           Rate(2 * once, time, gpu_.device_bandwidth())));
    gpu_.Forget();
  }

  void Pool(std::int32_t n) {
    if (!Wanted("pool")) return;
    const cuda::MaxPoolSequence sequence = {
        .in = gpu_.ToDevice(Normal(n)), .out = gpu_.Take<float>(n), .n = n};
    const cuda::MaxPoolArgs args = cuda::PlanMaxPool(8, {&sequence, 1}, gpu_.workspace());
    const Microseconds time = gpu_.Time(
        [&] { cuda::CheckLaunch(cuda::LaunchMaxPool(args, gpu_.stream().handle()), "pool"); });
    gpu_.Print("pool", fmt::format("\"n\": {}, \"eps\": 8, {}", n, Times(time)));
    gpu_.Forget();
  }

  void TopK(std::int32_t n, std::int32_t n_seqs) {
    if (!Wanted("top_k")) return;
    constexpr std::int32_t kSelected = 2048;
    std::vector<cuda::TopKParams> batch;
    for (std::int32_t i = 0; i < n_seqs; ++i) {
      batch.push_back({.scores = gpu_.ToDevice(Normal(n)),
                       .n = n,
                       .k = kSelected,
                       .rows = gpu_.Take<std::int32_t>(kSelected)});
    }
    const cuda::TopKArgs args = cuda::PlanTopK(batch, gpu_.workspace());
    const Microseconds time = gpu_.Time(
        [&] { cuda::CheckLaunch(cuda::LaunchTopK(args, gpu_.stream().handle()), "top_k"); });
    const double read_us = sizeof(float) * double(n) * n_seqs / gpu_.device_bandwidth() * 1e6;
    gpu_.Print("top_k",
               fmt::format("\"n\": {}, \"k\": {}, \"n_seqs\": {}, {}, \"read_once_us\": {:.2f}, "
                           "\"times_read_once\": {:.2f}",
                           n,
                           kSelected,
                           n_seqs,
                           Times(time),
                           read_us,
                           time.median / read_us));
    gpu_.Forget();
  }

  // Pinned memory for every size of row, since taking it takes long.
  std::byte* Pool() {
    if (pool_.size() > 0) return pool_.data();
    absl::StatusOr<PinnedBuffer> pool =
        PinnedBuffer::Allocate(gpu_.check() ? std::size_t{4} << 20 : PoolBytes());
    ThrowIfFailed(pool.status());
    pool_ = *std::move(pool);
    if (!pool_.pinned()) throw DeviceError(absl::ResourceExhaustedError(pool_.why_pageable()));
    return pool_.data();
  }

  // `n` different rows of so many, ascending.
  std::vector<std::int32_t> SomeRows(std::int32_t n, std::int32_t of) {
    std::set<std::int32_t> rows;
    std::uniform_int_distribution<std::int32_t> any(0, of - 1);
    while (rows.size() < static_cast<std::size_t>(n)) rows.insert(any(random_));
    return {rows.begin(), rows.end()};
  }

  // 2,048 rows of pages in pinned memory, other ones with each call; beside it one copy of as many
  // bytes in one piece.
  void Gather(std::int32_t row_bytes) {
    if (!Wanted("gather")) return;
    constexpr int kTurns = 16;
    const std::int32_t n_rows = gpu_.check() ? 64 : 2048;
    const KvLayout layout = {
        .n_layers = 1, .n_kv_heads = 1, .head_dim = row_bytes / 4, .page_size = kPage};
    std::byte* base = Pool();
    const cuda::DevicePageTable pages =
        Pages(static_cast<std::int32_t>(pool_.size() / layout.page_bytes()) * kPage);
    const std::size_t bytes = std::size_t(n_rows) * row_bytes;
    auto* to = gpu_.Take<std::byte>(bytes);
    std::deque<cuda::Workspace> workspaces;
    std::vector<cuda::GatherRowsParams> turns;
    for (int i = 0; i < kTurns; ++i) {
      workspaces.emplace_back(gpu_.stream());
      turns.push_back({.store = {base, layout},
                       .pages = pages,
                       .rows = gpu_.ToDevice(SomeRows(n_rows, pages.n * kPage)),
                       .n = n_rows,
                       .to = to});
    }
    int turn = 0;
    const auto gather = [&] {
      cuda::GatherRows(0, {&turns[turn], 1}, workspaces[turn]);
      turn = (turn + 1) % kTurns;
    };
    const Microseconds time = gpu_.Time(gather, GpuBench::Calls::kLaunched);
    const Microseconds whole = gpu_.Time([&] { gpu_.Copy(to, base, bytes); });
    gpu_.Print("gather",
               fmt::format("\"row_bytes\": {}, \"n_rows\": {}, \"pool_bytes\": {}, {}, "
                           "\"one_copy_us\": {:.2f}, {}",
                           row_bytes,
                           n_rows,
                           pool_.size(),
                           Times(time),
                           whole.median,
                           Rate(double(bytes), time, double(bytes) / whole.median * 1e6)));
    gpu_.Forget();
  }

  // One query a sequence over rows in device pages.
  void Decode(std::int32_t n, std::int32_t n_seqs) {
    if (!Wanted("decode")) return;
    KvLayout layout = kLayout;
    layout.n_layers = LayersFor(layout.row_bytes() * n * n_seqs);
    std::vector<cuda::AttendPartParams> parts(n_seqs);
    std::vector<cuda::AttendParams> batch;
    for (std::int32_t i = 0; i < n_seqs; ++i) {
      const cuda::DevicePageTable pages = Pages(n);
      parts[i] = {.queries = gpu_.ToDevice(Normal(kHeads * kDim)), .range = {0, n}};
      batch.push_back({.store = {gpu_.Take<std::byte>(layout.page_bytes() * pages.n), layout},
                       .pages = pages,
                       .q_len = 1,
                       .parts = {&parts[i], 1},
                       .out = gpu_.Take<float>(kHeads * kDim)});
    }
    const cuda::AttendRowsArgs args = cuda::PlanAttendRows(Settings(), batch, gpu_.workspace());
    std::int32_t layer = 0;
    const Microseconds time = gpu_.Time([&] {
      cuda::AttendRows(layer, args, gpu_.stream());
      layer = (layer + 1) % layout.n_layers;
    });
    gpu_.Print(
        "decode",
        fmt::format("\"rows\": {}, \"n_seqs\": {}, {}, {}",
                    n,
                    n_seqs,
                    Times(time),
                    Rate(double(kLayout.row_bytes()) * n * n_seqs, time, gpu_.device_bandwidth())));
    gpu_.Forget();
  }

  // A chunk over initial, selected and local rows and itself.
  void Prefill(std::int32_t q_len) {
    if (!Wanted("prefill")) return;
    const std::int32_t past = gpu_.check() ? 400 : 8192;
    const std::int32_t local = gpu_.check() ? 100 : 4096;
    const cuda::DevicePageTable pages = Pages(past + q_len);
    std::vector<std::int32_t> rows(gpu_.check() ? 50 : 512);
    std::iota(rows.begin(), rows.end(), 128);
    const float* queries = gpu_.ToDevice(Normal(std::size_t(q_len) * kHeads * kDim));
    const cuda::AttendPartParams parts[] = {
        {.queries = queries, .range = {0, 128}},
        {.queries = queries,
         .rows = gpu_.ToDevice(rows),
         .n_rows = static_cast<std::int32_t>(rows.size())},
        {.queries = queries, .range = {past - local, past + q_len}, .causal_from = past}};
    const cuda::AttendParams params = {
        .store = {gpu_.Take<std::byte>(kLayout.page_bytes() * pages.n), kLayout},
        .pages = pages,
        .q_len = q_len,
        .parts = parts,
        .out = gpu_.Take<float>(std::size_t(q_len) * kHeads * kDim)};
    const cuda::AttendRowsArgs args =
        cuda::PlanAttendRows(Settings(), {&params, 1}, gpu_.workspace());
    const Microseconds time = gpu_.Time([&] { cuda::AttendRows(0, args, gpu_.stream()); });
    const double attended = 128.0 + double(rows.size()) + local + q_len / 2.0;
    const double flops = 4.0 * q_len * attended * kHeads * kDim;
    gpu_.Print("prefill",
               fmt::format("\"q_len\": {}, {}, \"tflop_s\": {:.2f}",
                           q_len,
                           Times(time),
                           flops / time.median / 1e6));
    gpu_.Forget();
  }

  void Append(std::int32_t n_tokens) {
    if (!Wanted("append")) return;
    const DigestLayout layout = {
        .n_slots = 1, .n_groups = kKvHeads, .rank = kRank, .page_size = kPage};
    const cuda::DevicePageTable pages = Pages(n_tokens);
    const float* keys = gpu_.ToDevice(Normal(std::size_t(n_tokens) * kKvHeads * kDim));
    const cuda::AppendKvParams kv = {
        .store = {gpu_.Take<std::byte>(kLayout.page_bytes() * pages.n), kLayout},
        .pages = pages,
        .n_tokens = n_tokens,
        .keys = keys,
        .values = keys};
    const cuda::AppendDigestsParams digests = {
        .store = {gpu_.Take<std::uint8_t>(layout.page_bytes() * pages.n), layout},
        .pages = pages,
        .n_tokens = n_tokens,
        .keys = keys};
    const cuda::DigestMap map = {.map = gpu_.ToDevice(Normal(std::size_t(kKvHeads) * kRank * kDim)),
                                 .in_dim = kDim};
    const cuda::AppendKvArgs append = cuda::PlanAppendKv({&kv, 1}, gpu_.workspace());
    const Microseconds rows = gpu_.Time([&] {
      cuda::CheckLaunch(cuda::LaunchAppendKv(append, gpu_.stream().handle()), "append_kv");
    });
    const cuda::AppendDigestsArgs append_digests =
        cuda::PlanAppendDigests(map, {&digests, 1}, gpu_.workspace());
    const Microseconds codes = gpu_.Time([&] {
      cuda::CheckLaunch(cuda::LaunchAppendDigests(append_digests, gpu_.stream().handle()),
                        "append_digests");
    });
    gpu_.Print("append_kv", fmt::format("\"n_tokens\": {}, {}", n_tokens, Times(rows)));
    gpu_.Print("append_digests", fmt::format("\"n_tokens\": {}, {}", n_tokens, Times(codes)));
    gpu_.Forget();
  }

  static cuda::AttendSettings Settings() {
    return {.n_heads = kHeads, .softmax_scale = 1 / std::sqrt(static_cast<float>(kDim))};
  }

  GpuBench& gpu_;
  std::string_view only_;
  PinnedBuffer pool_;
  std::mt19937 random_{1};
};

int Main(int argc, char** argv) {
  bool check = false;
  std::string_view only;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--check") {
      check = true;
    } else {
      only = argument;
    }
  }
  try {
    GpuBench gpu(check);
    KernelsBench(gpu, only).RunAll();
  } catch (const DeviceError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) { return keyhole::Main(argc, argv); }
