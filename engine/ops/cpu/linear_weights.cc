#include "engine/ops/cpu/linear_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "engine/ops/half_float.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

using Byte = unsigned char;

constexpr int kGroups = 8;          // of four values along n_in in a block
constexpr std::int64_t kLine = 64;  // bytes

std::int64_t RoundUp(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }
std::int64_t BlocksOf(std::int64_t n_in) { return (n_in + kBlock - 1) / kBlock; }

// How codes are held. Blocks that this project quantises itself are those of Q8_0.
struct CodeLayout {
  int code_bits = 8;
  int zero = 128;
  bool half_scales = true;
  bool has_offsets = false;
};

std::int64_t CodeBytes(const LinearPanels& panels) {
  return std::int64_t{kBlock} * kPanelColumns * panels.code_bits / 8;
}

std::int64_t ScaleValueBytes(const LinearPanels& panels) { return panels.half_scales ? 2 : 4; }

void LayOutPanel(LinearWeights& w) {
  LinearPanels& panels = w.panels;
  if (w.format != LinearFormat::kInt8) {
    const int value_bytes = w.format == LinearFormat::kF32 ? 4 : 2;
    panels.code_bits = 8 * value_bytes;
    panels.n_in = w.n_in;
    panels.panel_bytes = RoundUp(w.n_in * kPanelColumns * value_bytes, kLine);
    return;
  }
  const std::int64_t n_blocks = BlocksOf(w.n_in);
  const std::int64_t scale_bytes =
      kPanelColumns * ScaleValueBytes(panels) * (panels.has_offsets ? 2 : 1);
  panels.n_in = n_blocks * kBlock;
  panels.scales_at = n_blocks * CodeBytes(panels);
  panels.panel_bytes = RoundUp(panels.scales_at + n_blocks * scale_bytes, kLine);
}

absl::StatusOr<LinearWeights> Allocate(Device& device,
                                       const LinearShape& shape,
                                       const CodeLayout& layout) {
  LinearWeights w;
  w.format = shape.format;
  w.n_out = shape.n_out;
  w.n_in = shape.n_in;
  w.panels.n_columns = shape.n_out;
  w.panels.code_bits = layout.code_bits;
  w.panels.half_scales = layout.half_scales;
  w.panels.has_offsets = layout.has_offsets;
  w.panels.zero = layout.zero;
  LayOutPanel(w);
  const std::int64_t bytes = w.data_bytes();
  w.data = device.weight_memory().Take(static_cast<std::size_t>(bytes));
  if (w.data == nullptr) {
    return absl::ResourceExhaustedError(
        fmt::format("no memory for a packed weight matrix of {} bytes", bytes));
  }
  w.panels.data = reinterpret_cast<const Byte*>(w.data.get());
  return w;
}

// Calls pack(panel, first, last) for each panel, of rows [first, last) of the matrix; in parallel.
template <class PackPanel>
void ForEachPanel(ThreadPool& pool, const LinearWeights& w, const PackPanel& pack) {
  pool.ParallelFor(w.n_panels(), [&](std::int64_t p) {
    auto* panel = reinterpret_cast<Byte*>(w.data.get()) + p * w.panels.panel_bytes;
    std::memset(panel, 0, static_cast<std::size_t>(w.panels.panel_bytes));
    const std::int64_t first = p * kPanelColumns;
    pack(panel, first, std::min<std::int64_t>(first + kPanelColumns, w.n_out));
  });
}

void StoreScale(const LinearPanels& panels, float value, Byte* to) {
  if (!panels.half_scales) {
    std::memcpy(to, &value, sizeof(value));
    return;
  }
  const std::uint16_t half = Float32ToHalf(value);
  std::memcpy(to, &half, sizeof(half));
}

void StoreCodes(const LinearPanels& panels, const std::uint8_t* codes, Byte* to) {
  const int n_groups = panels.code_bits;  // of 64 bytes
  for (int g = 0; g < n_groups; ++g) {
    for (int j = 0; j < 4; ++j) {
      Byte byte = codes[4 * g + j];
      if (n_groups < kGroups) byte |= static_cast<Byte>(codes[4 * (g + n_groups) + j] << 4);
      to[g * 4 * kPanelColumns + j] = byte;
    }
  }
}

// One row of codes and its scales.
struct CodeRow {
  explicit CodeRow(std::int64_t n_blocks)
      : codes(n_blocks * kBlock), scales(n_blocks), offsets(n_blocks) {}

  QuantizedRow spans() { return {codes, scales, offsets}; }

  std::vector<std::uint8_t> codes;
  std::vector<float> scales;
  std::vector<float> offsets;
};

void StoreColumn(const LinearPanels& panels, const CodeRow& row, int column, Byte* panel) {
  const std::int64_t value_bytes = ScaleValueBytes(panels);
  const std::int64_t values = kPanelColumns * value_bytes;
  Byte* scale = panel + panels.scales_at + column * value_bytes;
  Byte* codes = panel + 4 * column;
  for (std::size_t b = 0; b < row.scales.size(); ++b, codes += CodeBytes(panels)) {
    StoreCodes(panels, row.codes.data() + b * kBlock, codes);
    StoreScale(panels, row.scales[b], scale);
    scale += values;
    if (!panels.has_offsets) continue;
    StoreScale(panels, row.offsets[b], scale);
    scale += values;
  }
}

// Symmetric codes around 128, with the scale rounded first so that the codes fit what is stored. A
// weight that is no finite number makes no number of the scale.
void QuantizeBlock(const float* values, std::uint8_t* codes, float* scale) {
  constexpr float kLargestHalf = 65504;
  float largest = 0;
  bool finite = true;
  for (int i = 0; i < kBlock; ++i) {
    largest = std::max(largest, std::fabs(values[i]));
    finite = finite && std::isfinite(values[i]);
  }
  if (!finite) {
    *scale = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(codes, kBlock, std::uint8_t{128});
    return;
  }
  *scale = HalfToFloat32(Float32ToHalf(std::min(largest / 127, kLargestHalf)));
  const float inverse = *scale == 0 ? 0 : 1 / *scale;
  for (int i = 0; i < kBlock; ++i) {
    const float q = std::clamp(std::nearbyint(values[i] * inverse), -127.0F, 127.0F);
    codes[i] = static_cast<std::uint8_t>(q + 128);
  }
}

void PackInt8(ThreadPool& pool, const LinearWeights& w, const WeightRowReader& rows) {
  ForEachPanel(pool, w, [&](Byte* panel, std::int64_t first, std::int64_t last) {
    const std::int64_t n_blocks = BlocksOf(w.n_in);
    std::vector<float> values(n_blocks * kBlock, 0.0F);
    CodeRow row(n_blocks);
    for (std::int64_t r = first; r < last; ++r) {
      rows(r, std::span<float>(values.data(), w.n_in));
      for (std::int64_t b = 0; b < n_blocks; ++b) {
        QuantizeBlock(values.data() + b * kBlock, row.codes.data() + b * kBlock, &row.scales[b]);
      }
      StoreColumn(w.panels, row, static_cast<int>(r - first), panel);
    }
  });
}

template <class Value, class Convert>
void PackFloats(ThreadPool& pool,
                const LinearWeights& w,
                const WeightRowReader& rows,
                const Convert& convert) {
  ForEachPanel(pool, w, [&](Byte* panel, std::int64_t first, std::int64_t last) {
    std::vector<float> values(w.n_in);
    for (std::int64_t r = first; r < last; ++r) {
      rows(r, values);
      auto* to = reinterpret_cast<Value*>(panel) + (r - first);
      for (std::int64_t k = 0; k < w.n_in; ++k) to[k * kPanelColumns] = convert(values[k]);
    }
  });
}

}  // namespace

absl::StatusOr<LinearWeights> PackWeights(Device& device,
                                          const LinearShape& shape,
                                          const WeightRowReader& rows) {
  KEYHOLE_ASSIGN_OR_RETURN(LinearWeights w, Allocate(device, shape, CodeLayout()));
  switch (shape.format) {
    case LinearFormat::kF32:
      PackFloats<float>(device.pool(), w, rows, [](float value) { return value; });
      break;
    case LinearFormat::kBF16:
      PackFloats<std::uint16_t>(device.pool(), w, rows, Float32ToBf16);
      break;
    case LinearFormat::kInt8:
      PackInt8(device.pool(), w, rows);
      break;
  }
  return w;
}

absl::StatusOr<LinearWeights> PackQuantizedWeights(Device& device,
                                                   std::int64_t n_out,
                                                   std::int64_t n_in,
                                                   const QuantizedRows& rows) {
  const QuantizedTraits& traits = TraitsOf(rows.encoding);
  const CodeLayout layout = {traits.code_bits, traits.zero, traits.half_scales, traits.has_offsets};
  KEYHOLE_ASSIGN_OR_RETURN(LinearWeights w,
                           Allocate(device, {LinearFormat::kInt8, n_out, n_in}, layout));
  ForEachPanel(device.pool(), w, [&](Byte* panel, std::int64_t first, std::int64_t last) {
    CodeRow row(BlocksOf(n_in));
    for (std::int64_t r = first; r < last; ++r) {
      SplitRow(rows.encoding, rows.row(r), row.spans());
      StoreColumn(w.panels, row, static_cast<int>(r - first), panel);
    }
  });
  return w;
}

}  // namespace keyhole
