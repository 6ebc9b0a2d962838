#include "engine/ops/cpu/linear_chunk_cpu.h"

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "engine/ops/cpu/linear_chunk.h"

namespace keyhole {

bool HasLinearChunks(const Device& device, const LinearWeights& weights) {
  if (device.cpu_level() < CpuLevel::kAmx || weights.format == LinearFormat::kF32) return false;
  return weights.format == LinearFormat::kInt8 || weights.n_in % kBlock == 0;
}

bool HasFeedForwardChunks(const Device& device,
                          const LinearWeights& gate_up,
                          const LinearWeights& down) {
  return HasLinearChunks(device, gate_up) && HasLinearChunks(device, down) &&
         gate_up.n_out % (2 * kBlock) == 0;  // whole blocks of what lies between
}

namespace {

// REQUIRES: HasLinearChunks.
LinearChunkKernels Kernels() {
#if defined(__x86_64__)
  return LinearChunkKernelsAmx();
#else
  return {};
#endif
}

LinearPanels PanelsOf(const LinearWeights& w) {
  LinearPanels panels = w.panels;
  panels.bias = w.bias.empty() ? nullptr : w.bias.data();
  return panels;
}

// Calls run for parts of the product of n rows and the pairs of panels. Never changes a result.
void ForParts(Device& device,
              std::int64_t n,
              std::int64_t n_in,
              std::int64_t n_pairs,
              absl::FunctionRef<void(const LinearChunkPart&)> run) {
  constexpr std::int64_t kInputBytes = 1 << 20;  // of a part: half of a usual second level cache
  constexpr std::int64_t kStep = 2 * kChunkTileRows;
  const std::int64_t fit = kInputBytes / (2 * n_in) / kStep * kStep;
  const std::int64_t rows = std::clamp<std::int64_t>(fit, 2 * kStep, kMostChunkRows);
  const std::int64_t row_parts = (n + rows - 1) / rows;
  const std::int64_t groups = std::min<std::int64_t>(n_pairs, 8 * device.pool().n_threads());
  device.pool().ParallelFor(row_parts * groups, [&](std::int64_t task) {
    const std::int64_t row = task / groups * rows;
    const std::int64_t group = task % groups;
    run({row, std::min(row + rows, n), n_pairs * group / groups, n_pairs * (group + 1) / groups});
  });
}

void Pack(Device& device,
          const LinearChunkKernels& kernels,
          const ChunkInput& input,
          std::int64_t n_in,
          const LinearChunk& to) {
  const LinearChunkSource source = {input.x, n_in, input.norm_weight, input.norm_eps};
  device.pool().ParallelFor((input.n + kChunkTileRows - 1) / kChunkTileRows,
                            [&](std::int64_t tile) { kernels.pack(source, tile, to); });
}

void Multiply(Device& device,
              const LinearChunkKernels& kernels,
              const LinearChunk& chunk,
              const LinearWeights& w,
              std::span<const ChunkOutput> outputs) {
  const LinearPanels panels = PanelsOf(w);
  const std::int64_t n_pairs = (w.n_panels() + kChunkPanels - 1) / kChunkPanels;
  ForParts(device, chunk.n_rows, panels.n_in, n_pairs, [&](const LinearChunkPart& part) {
    std::int64_t first = 0;  // pair of panels
    for (const ChunkOutput& output : outputs) {
      const std::int64_t last = first + (output.n_columns + kChunkColumns - 1) / kChunkColumns;
      LinearChunkPart mine = part;
      mine.first_pair = std::max(part.first_pair, first);
      mine.last_pair = std::min(part.last_pair, last);
      if (mine.first_pair < mine.last_pair) {
        float* out = output.out - first * kChunkColumns;
        kernels.multiply(panels, chunk, mine, {out, output.n_columns, output.add});
      }
      first = last;
    }
  });
}

// Memory of chunks, until the next operator.
class ChunkScratch {
 public:
  ChunkScratch(Device& device, std::int64_t elements)
      : at_(reinterpret_cast<std::uint16_t*>(
            device.Scratch(static_cast<std::size_t>(elements) * sizeof(std::uint16_t)))) {}

  LinearChunk Take(std::int64_t n, std::int64_t n_in) {
    const LinearChunk chunk = {n, at_};
    at_ += LinearChunk::Elements(n, n_in);
    return chunk;
  }

 private:
  std::uint16_t* at_;
};

}  // namespace

void LinearChunkCpu(Device& device,
                    const ChunkInput& input,
                    const LinearWeights& weights,
                    std::span<const ChunkOutput> outputs) {
  const LinearChunkKernels kernels = Kernels();
  ChunkScratch scratch(device, LinearChunk::Elements(input.n, weights.n_in));
  const LinearChunk x = scratch.Take(input.n, weights.n_in);
  Pack(device, kernels, input, weights.n_in, x);
  Multiply(device, kernels, x, weights, outputs);
}

void FeedForwardChunkCpu(Device& device,
                         const ChunkInput& input,
                         const LinearWeights& gate_up,
                         const LinearWeights& down,
                         const ChunkOutput& output) {
  const LinearChunkKernels kernels = Kernels();
  ChunkScratch scratch(
      device,
      LinearChunk::Elements(input.n, gate_up.n_in) + LinearChunk::Elements(input.n, down.n_in));
  const LinearChunk x = scratch.Take(input.n, gate_up.n_in);
  const LinearChunk gated = scratch.Take(input.n, down.n_in);
  {
    const TraceSpan span(device.trace(), "gate_up");
    Pack(device, kernels, input, gate_up.n_in, x);
    const LinearPanels panels = PanelsOf(gate_up);
    ForParts(
        device, input.n, panels.n_in, gate_up.n_panels() / 2, [&](const LinearChunkPart& part) {
          kernels.multiply_silu(panels, x, part, gated);
        });
  }
  const TraceSpan span(device.trace(), "down");
  Multiply(device, kernels, gated, down, {&output, 1});
}

}  // namespace keyhole
