// Time per output token of decode at the shape of an 8B model, on a GPU, by context, batch,
// residency and type of the rows. Prints one JSON object a line.
//
// Rows of the past are zeros and their digests random: every step selects other rows than the last
// one, so that with residency `host` nearly all of them are fetched. Weights are those of one
// layer, copied. A case that does not fit has a "problem" instead of times.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"
#include "engine/device/gpu.h"
#include "engine/model/cuda/device_model.h"
#include "engine/model/kv_layout_of.h"
#include "engine/model/weight_source.h"
#include "engine/runtime/available_memory.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 64;
constexpr std::size_t kReserve = std::size_t{6} << 30;  // activations, tables, the runtime

struct Options {
  bool check = false;
  std::int32_t rank = 0;        // 0: what a calibration makes by default
  std::size_t host_memory = 0;  // 0: most of what is free
  std::string kv;               // empty: every type
  std::vector<std::string> what = {"host", "auto", "device", "capacity"};
};

struct Case {
  Residency residency = Residency::kHost;
  KvType kv = KvType::kBF16;
  std::int32_t context = 0;
  std::int32_t batch = 1;
};

class DecodeBench {
 public:
  explicit DecodeBench(const Options& options)
      : check_(options.check),
        kv_(options.kv),
        gpu_(ValueOrThrow(OpenGpu(0))),
        stream_(ValueOrThrow(Stream::Create())),
        source_(ValueOrThrow(
            OpenModel(check_ ? "synthetic:tiny" : "synthetic:llama-3-8b,layers=1", {}))),
        config_(source_->config()) {
    config_.n_layers = check_ ? 2 : 32;
    shard_ = ValueOrThrow(ShardModel(config_, {}));
    weights_.emplace(
        ValueOrThrow(cuda::DeviceWeights::Load(stream_, *source_, shard_, config_.n_layers)));
    MakeMaps(options.rank);
    ThrowIfFailed(stream_.Synchronize());
    device_bytes_ = FreeBytes();
    host_bytes_ = options.host_memory > 0 ? options.host_memory : FreeHostBytes();
  }

  void RunAll(Residency residency) {
    for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
      if (!Wanted(kv)) continue;
      for (const std::int32_t context : Contexts()) {
        for (const std::int32_t batch : {1, 4, 16}) Run({residency, kv, context, batch});
      }
    }
  }

  // What memory allows, by arithmetic: all rows on the device for full attention, and digests
  // alone.
  void Capacity() {
    for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
      if (!Wanted(kv)) continue;
      const auto token = static_cast<double>(LayoutOf(kv).page_bytes()) / kPage;
      const auto codes =
          static_cast<double>(maps_.n_groups * maps_.rank) * static_cast<double>(config_.n_layers);
      const auto device = static_cast<double>(device_bytes_);
      const auto host = static_cast<double>(host_bytes_);
      Print("capacity",
            fmt::format("\"kv\": \"{}\", \"rank\": {}, \"computed\": true, "
                        "\"bytes_a_token\": {:.0f}, \"tokens_full_attention\": {:.0f}, "
                        "\"tokens_selective\": {:.0f}",
                        KvTypeName(kv),
                        maps_.rank,
                        token,
                        device / token,
                        std::min(host / token, device / codes)));
    }
  }

 private:
  bool Wanted(KvType kv) const { return kv_.empty() || kv_ == KvTypeName(kv); }

  std::vector<std::int32_t> Contexts() const {
    if (check_) return {192, 320};
    return {8192, 32768, 131072, 262144, 524288, 1 << 20};
  }

  KvLayout LayoutOf(KvType kv) const { return KvLayoutOf(config_, kPage, kv); }

  static std::size_t FreeHostBytes() {
    // Pinned memory cannot be all of it.
    return static_cast<std::size_t>(ValueOrThrow(AvailableMemory())) / 10 * 8;
  }
  static std::size_t FreeBytes() {
    const std::size_t free = ValueOrThrow(OpenGpu(0)).free_bytes;
    return free > kReserve ? free - kReserve : free;
  }

  void MakeMaps(std::int32_t rank) {
    maps_.n_groups = static_cast<std::int32_t>(config_.n_kv_heads);
    maps_.in_dim = static_cast<std::int32_t>(config_.head_dim);
    maps_.rank = rank > 0 ? rank : maps_.in_dim / 2;
    std::normal_distribution<float> normal;
    LayerDigestMaps layer;
    layer.key.resize(std::size_t(maps_.n_groups) * maps_.rank * maps_.in_dim);
    for (float& x : layer.key) x = normal(random_);
    layer.query = layer.key;
    maps_.layers.assign(config_.n_layers, layer);
  }

  cuda::DeviceModelSettings SettingsOf(const Case& c) const {
    cuda::DeviceModelSettings settings = {.kv = c.kv,
                                          .page_size = kPage,
                                          .n_pages = c.batch * PagesOf(c),
                                          .n_sequences = c.batch,
                                          .residency = c.residency};
    AttentionSettings& attention = settings.attention;
    attention.positions = PositionMode::kRectified;
    attention.sizes = check_ ? SelectionSizes{16, 64, 32} : SelectionSizes{128, 4096, 512};
    attention.distances = DefaultDistances(attention.sizes.local);
    attention.distances.chunk_size = check_ ? 32 : 512;
    attention.distances.default_profile = AttentionProfile::kProse;  // all local rows, all selected
    settings.selection.query_distance = attention.sizes.local / 4;
    settings.selection.proximity = 8;
    settings.selection.probes = 8;
    return settings;
  }

  static std::int32_t PagesOf(const Case& c) { return PagesForTokens(c.context + 64, kPage); }

  // Rows of the device: `host` gets some for hot rows, the others what is left.
  std::size_t DeviceBytes(const Case& c, const cuda::DeviceModelSettings& settings) const {
    const KvLayout layout = LayoutOf(c.kv);
    const SelectionSizes& sizes = settings.attention.sizes;
    const std::size_t digests =
        std::size_t(maps_.n_groups) * maps_.rank * kPage * config_.n_layers * settings.n_pages;
    const std::size_t all = layout.page_bytes() * settings.n_pages;
    const std::size_t free = device_bytes_ > digests ? device_bytes_ - digests : 0;
    const std::size_t held = PagesForTokens(sizes.initial + sizes.local, kPage) + 8;
    const std::size_t hot = 4 * layout.row_bytes() * config_.n_layers * sizes.selected;
    const std::size_t step =
        c.batch * (held * layout.page_bytes() + hot) + layout.page_bytes() * (check_ ? 2 : 8);
    return c.residency == Residency::kHost ? std::min(step, free) : std::min(all, free);
  }

  void Run(const Case& c) {
    if (std::int64_t{c.context} * c.batch > (1 << 20)) return;
    cuda::DeviceModelSettings settings = SettingsOf(c);
    settings.device_bytes = DeviceBytes(c, settings);
    const std::string fields = fmt::format(
        "\"residency\": \"{}\", \"kv\": \"{}\", \"rank\": {}, \"context\": {}, \"batch\": {}",
        ResidencyName(c.residency),
        KvTypeName(c.kv),
        maps_.rank,
        c.context,
        c.batch);
    const std::size_t rows = LayoutOf(c.kv).page_bytes() * settings.n_pages;
    const bool spills = c.residency == Residency::kHost ||
                        (c.residency == Residency::kAuto && settings.device_bytes < rows);
    if (spills && rows > host_bytes_) {
      PrintProblem(fields, fmt::format("{} bytes of rows, host memory for {}", rows, host_bytes_));
      return;
    }
    const RopeTable rope(config_, std::max(c.context + 64, 2 * settings.attention.sizes.local));
    absl::StatusOr<std::unique_ptr<cuda::DeviceModel>> model =
        cuda::DeviceModel::Create(stream_, shard_, *weights_, &maps_, rope, settings);
    if (!model.ok()) {
      PrintProblem(fields, std::string(model.status().message()));
      return;
    }
    try {
      FillPast(c, **model);
      Measure(c, **model, fields);
    } catch (const DeviceError& error) {  // the next case may fit
      if (IsSticky(error.status())) throw;
      PrintProblem(fields, std::string(error.status().message()));
    }
    model->reset();
    ThrowIfFailed(stream_.Synchronize());
  }

  void FillPast(const Case& c, cuda::DeviceModel& model) {
    ResidentKv& kv = model.kv();
    const KvLayout layout = LayoutOf(c.kv);
    const std::size_t arena =
        kv.plan().n_page_slots * layout.page_bytes() +
        std::size_t(kv.plan().n_hot_rows) * layout.n_layers * layout.row_bytes();
    ThrowIfFailed(FillAsync(stream_, kv.arena().base(), 0, arena));
    std::vector<std::uint32_t> codes(std::min<std::size_t>(model.digest_bytes() / 4, 1 << 24));
    for (std::uint32_t& x : codes) x = static_cast<std::uint32_t>(random_());
    for (std::size_t at = 0; at < model.digest_bytes(); at += codes.size() * 4) {
      const std::size_t n = std::min(codes.size() * 4, model.digest_bytes() - at);
      ThrowIfFailed(CopyAsync(stream_, model.digests() + at, codes.data(), n));
    }
    ThrowIfFailed(stream_.Synchronize());
    pages_.resize(std::size_t(c.batch) * PagesOf(c));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), random_);
    for (const PageId& page : pages_) {
      ThrowIfFailed(kv.Hold({&page, 1}));
      kv.Write({&page, 1});
      ThrowIfFailed(kv.Save({&page, 1}));
      kv.Release({&page, 1});
    }
  }

  ModelInput InputOf(const Case& c, std::int32_t past) {
    ModelInput input;
    for (std::int32_t i = 0; i < c.batch; ++i) {
      SequenceSlice slice;
      slice.id = static_cast<RequestId>(i) + 1;
      slice.q_begin = i;
      slice.q_len = 1;
      slice.kv_len = past;
      slice.prompt_len = c.context;
      slice.pages = std::span(pages_).subspan(std::size_t(i) * PagesOf(c), PagesOf(c));
      slice.sample = true;
      input.sequences.push_back(slice);
      input.positions.push_back(past);
      input.token_ids.push_back(static_cast<TokenId>(random_() % config_.vocab_size));
    }
    return input;
  }

  void Measure(const Case& c, cuda::DeviceModel& model, const std::string& fields) {
    const int warm = check_ ? 3 : 8;
    const int n = check_ ? 2 : 40;
    std::vector<double> times;
    for (int step = 0; step < warm + n; ++step) {
      const ModelInput input = InputOf(c, c.context + step);
      StepResult result;
      result.sequences.resize(c.batch);
      const auto begin = std::chrono::steady_clock::now();
      ThrowIfFailed(
          model.llama().Forward(input, cuda::DeviceLlama::Want::kTokens, result).status());
      const std::chrono::duration<double, std::milli> time =
          std::chrono::steady_clock::now() - begin;
      if (step >= warm) times.push_back(time.count());
    }
    std::sort(times.begin(), times.end());
    Print("decode",
          fields + fmt::format(", \"tpot_ms\": {:.3f}, \"best_ms\": {:.3f}, \"worst_ms\": {:.3f}, "
                               "\"tokens_s\": {:.1f}, \"captures\": {}, \"spills\": {}, "
                               "\"digest_bytes\": {}",
                               times[times.size() / 2],
                               times.front(),
                               times.back(),
                               1000.0 * c.batch / times[times.size() / 2],
                               model.llama().n_captures(),
                               model.kv().plan().spills,
                               maps_.n_groups * maps_.rank));
  }

  void PrintProblem(const std::string& fields, std::string_view problem) const {
    Print("decode", fmt::format("{}, \"problem\": \"{}\"", fields, problem));
  }

  void Print(std::string_view name, const std::string& fields) const {
    fmt::print("{{\"bench\": \"{}\", \"gpu\": \"{}\", {}}}\n", name, gpu_.name, fields);
    std::fflush(stdout);
  }

  bool check_;
  std::string kv_;
  GpuInfo gpu_;
  Stream stream_;
  std::unique_ptr<WeightSource> source_;
  ModelConfig config_;
  ModelShard shard_;
  std::optional<cuda::DeviceWeights> weights_;
  DigestMaps maps_;
  // For rows; measured once, since the GPU counts as taken what earlier cases have given back.
  std::size_t device_bytes_ = 0;
  std::size_t host_bytes_ = 0;
  std::vector<PageId> pages_;
  std::mt19937 random_{1};
};

// Empty if it is well.
std::string CheckRank(const std::string& text) {
  int rank = 0;
  if (absl::SimpleAtoi(text, &rank) && rank >= 0 && rank % 4 == 0) return "";
  return fmt::format("{} is no multiple of 4", text);
}

void AddOptions(CLI::App* app, Options* options) {
  app->add_option("what", options->what, "Residencies to run, or capacity")
      ->check(CLI::IsMember({"host", "auto", "device", "capacity"}));
  app->add_option("--kv", options->kv, "Rows of this type alone")
      ->check(CLI::IsMember({"bf16", "int8"}));
  app->add_option("--rank", options->rank, "Codes of a KV head and token (0: half of head_dim)")
      ->check(CheckRank);
  app->add_option("--host-memory", options->host_memory, "For rows, as 64GiB (0: most of the free)")
      ->transform(CLI::AsSizeValue(false));
  app->add_flag("--check", options->check, "A tiny model, to see that it works");
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("decode on a GPU against context length");
  AddOptions(&app, &options);
  CLI11_PARSE(app, argc, argv);
  try {
    DecodeBench bench(options);
    for (const std::string& name : options.what) {
      if (name == "capacity") {
        bench.Capacity();
      } else {
        bench.RunAll(ValueOrThrow(ParseResidency(name)));
      }
    }
  } catch (const DeviceError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) { return keyhole::Main(argc, argv); }
