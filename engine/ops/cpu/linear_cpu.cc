#include "engine/ops/cpu/linear_cpu.h"

#include <algorithm>
#include <vector>

#include "engine/ops/cpu/kernels_for_level.h"

namespace keyhole {
namespace {

LinearKernels KernelsFor(CpuLevel level) {
  static constexpr LevelKernels<LinearKernels> kSets[] = {
#if defined(__x86_64__)
    {CpuLevel::kAvx512Vnni, LinearKernelsAvx512Vnni},
    {CpuLevel::kAvx512, LinearKernelsAvx512},
    {CpuLevel::kAvx2, LinearKernelsAvx2},
#endif
    {CpuLevel::kPortable, LinearKernelsPortable},
  };
  return KernelsForLevel(level, kSets);
}

// The rows of x in tiles of nearly equal height, packed one after another.
class Tiles {
 public:
  Tiles(Device& device, const LinearCpuParams& params, const LinearKernels& kernels)
      : params_(params),
        weights_(*params.weights),
        kernels_(kernels),
        int8_(weights_.format == LinearFormat::kInt8),
        max_rows_(int8_ ? kernels.max_rows_int8 : kernels.max_rows),
        count_((params.n + max_rows_ - 1) / max_rows_) {
    // A single row of floats is packed as it is.
    if (int8_ || params.n > 1) {
      const TraceSpan span(device.trace(), int8_ ? "quantize" : "pack");
      Pack(device);
    }
    if (!int8_ || kernels.int8_tiles == nullptr || count_ == 1) return;
    for (std::int64_t tile = 0; tile < count_; ++tile) inputs_.push_back(input(tile));
  }

  std::int64_t count() const { return count_; }

  // Parts of the rows whose inputs leave room for weights in a second level cache.
  std::int64_t cached_parts() const {
    constexpr std::int64_t kInputBytes = 192 << 10;
    if (at_once() == nullptr) return 1;
    return params_.n * weights_.panels.n_in * kWordsOfBlock * 4 / kBlock / kInputBytes + 1;
  }

  // For LinearKernels::int8_tiles; null where tiles are multiplied one by one.
  const LinearInput* at_once() const { return inputs_.empty() ? nullptr : inputs_.data(); }

  std::int64_t first_row(std::int64_t tile) const { return params_.n * tile / count_; }

  LinearInput input(std::int64_t tile) const {
    const std::int64_t first = first_row(tile);
    const std::int64_t n_blocks = weights_.panels.n_in / kBlock;
    LinearInput input = {};
    input.n_rows = static_cast<int>(first_row(tile + 1) - first);
    if (int8_) {
      input.codes = codes_ + first * n_blocks * 8;
      input.start = start_ + first * n_blocks;
      input.scales = scales_ + first * n_blocks * 2;
    } else {
      input.x = packed_ == nullptr ? params_.x : packed_ + first * weights_.n_in;
    }
    return input;
  }

 private:
  static constexpr std::int64_t kWordsOfBlock = kBlockWords + 3;  // codes, start and two scales

  void Pack(Device& device) {
    const std::int64_t n_blocks = weights_.panels.n_in / kBlock;
    const std::int64_t words = params_.n * (int8_ ? n_blocks * kWordsOfBlock : weights_.n_in);
    std::byte* scratch = device.Scratch(static_cast<std::size_t>(words) * 4);
    if (int8_) {
      codes_ = reinterpret_cast<std::int32_t*>(scratch);
      start_ = codes_ + params_.n * n_blocks * 8;
      scales_ = reinterpret_cast<float*>(start_ + params_.n * n_blocks);
    } else {
      packed_ = reinterpret_cast<float*>(scratch);
    }
    device.pool().ParallelFor(count_, [this](std::int64_t tile) { PackTile(tile); });
  }

  void PackTile(std::int64_t tile) const {
    const LinearInput to = input(tile);
    PackRows rows = {};
    rows.x = params_.x + first_row(tile) * weights_.n_in;
    rows.n_in = weights_.n_in;
    rows.n_rows = to.n_rows;
    rows.zero = weights_.panels.zero;
    rows.packed = const_cast<float*>(to.x);
    rows.codes = const_cast<std::int32_t*>(to.codes);
    rows.start = const_cast<std::int32_t*>(to.start);
    rows.scales = const_cast<float*>(to.scales);
    (int8_ ? kernels_.quantize : kernels_.pack)(rows);
  }

  const LinearCpuParams& params_;
  const LinearWeights& weights_;
  const LinearKernels& kernels_;
  const bool int8_;
  const int max_rows_;
  const std::int64_t count_;
  float* packed_ = nullptr;
  std::int32_t* codes_ = nullptr;
  std::int32_t* start_ = nullptr;
  float* scales_ = nullptr;
  std::vector<LinearInput> inputs_;
};

// Panels [first, last) of the weights.
LinearPanels Slice(const LinearWeights& w, std::int64_t first, std::int64_t last) {
  LinearPanels panels = w.panels;
  panels.data += first * panels.panel_bytes;
  panels.n_columns = std::min(last * kPanelColumns, w.n_out) - first * kPanelColumns;
  panels.bias = w.bias.empty() ? nullptr : w.bias.data() + first * kPanelColumns;
  return panels;
}

LinearKernel KernelFor(const LinearKernels& kernels, LinearFormat format) {
  switch (format) {
    case LinearFormat::kF32:
      return kernels.f32;
    case LinearFormat::kBF16:
      return kernels.bf16;
    case LinearFormat::kInt8:
      break;
  }
  return kernels.int8;
}

// How the product is cut into tasks: panels x tiles. Never changes a result.
class Cut {
 public:
  // least_parts: of the rows.
  Cut(const LinearWeights& w, std::int64_t n_tiles, std::int64_t least_parts, int n_threads)
      : n_panels_(w.n_panels()), n_tiles_(n_tiles), n_threads_(n_threads) {
    constexpr std::int64_t kTaskBytes = 64 << 10;  // of weights: a few microseconds
    constexpr std::int64_t kPanelsAtOnce = 4;      // that a kernel reads side by side
    const std::int64_t enough_tasks = 8 * std::int64_t{n_threads};
    panels_ = n_tiles == 1 ? kPanelsAtOnce : 2;
    while (panels_ * w.panels.panel_bytes < kTaskBytes && n_panels_ > 2 * panels_ * enough_tasks) {
      panels_ *= 2;
    }
    groups_ = DivideUp(DivideUp(n_panels_, n_threads), panels_);
    row_parts_ = std::clamp<std::int64_t>(
        std::max(enough_tasks / (groups_ * n_threads), least_parts), 1, n_tiles);
  }

  std::int64_t n_tasks() const { return n_threads_ * groups_ * row_parts_; }

  struct Part {
    std::int64_t first_panel;
    std::int64_t last_panel;
    std::int64_t first_tile;
    std::int64_t last_tile;
  };

  // Each thread's panels are its own share, which the pool gives it in order: all of it for some
  // rows, which stay in its cache, then for the next ones. May be empty.
  Part part(std::int64_t task) const {
    const std::int64_t thread = task / (groups_ * row_parts_);
    const std::int64_t first = n_panels_ * thread / n_threads_ + task % groups_ * panels_;
    const std::int64_t row_part = task / groups_ % row_parts_;
    return {first,
            std::min(first + panels_, n_panels_ * (thread + 1) / n_threads_),
            n_tiles_ * row_part / row_parts_,
            n_tiles_ * (row_part + 1) / row_parts_};
  }

 private:
  static std::int64_t DivideUp(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

  std::int64_t n_panels_;
  std::int64_t n_tiles_;
  std::int64_t n_threads_;
  std::int64_t panels_ = 0;  // of a task
  std::int64_t groups_ = 0;  // of panels in a thread's share
  std::int64_t row_parts_ = 1;
};

}  // namespace

void LinearCpu(Device& device, const LinearCpuParams& params) {
  if (params.n == 0) return;
  const LinearWeights& w = *params.weights;
  const LinearKernels kernels = KernelsFor(device.cpu_level());
  const LinearKernel kernel = KernelFor(kernels, w.format);
  const Tiles tiles(device, params, kernels);
  const Cut cut(w, tiles.count(), tiles.cached_parts(), device.pool().n_threads());
  device.pool().ParallelFor(cut.n_tasks(), [&](std::int64_t task) {
    const Cut::Part part = cut.part(task);
    if (part.first_panel >= part.last_panel) return;
    const LinearPanels panels = Slice(w, part.first_panel, part.last_panel);
    float* const columns = params.out + part.first_panel * kPanelColumns;
    if (tiles.at_once() != nullptr) {
      const LinearTiles some = {tiles.at_once() + part.first_tile,
                                part.last_tile - part.first_tile};
      float* out = columns + tiles.first_row(part.first_tile) * w.n_out;
      return kernels.int8_tiles(panels, some, {out, w.n_out});
    }
    for (std::int64_t tile = part.first_tile; tile < part.last_tile; ++tile) {
      kernel(panels, tiles.input(tile), {columns + tiles.first_row(tile) * w.n_out, w.n_out});
    }
  });
}

}  // namespace keyhole
