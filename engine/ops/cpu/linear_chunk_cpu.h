// Linear for the rows of prefill chunks, with what stands before and after it in a decoder layer.
#pragma once

#include <cstdint>
#include <span>

#include "engine/device/device.h"
#include "engine/ops/cpu/linear_chunk.h"
#include "engine/ops/cpu/linear_weights.h"

namespace keyhole {

struct ChunkInput {
  const float* x = nullptr;  // [n, n_in]
  std::int64_t n = 0;
  const float* norm_weight = nullptr;  // [n_in]: rows are normalised first; null: they are not
  double norm_eps = 0;
};

struct ChunkOutput {
  float* out = nullptr;  // [n, n_columns]
  std::int64_t n_columns = 0;
  bool add = false;  // to what is there
};

constexpr std::int64_t kChunkColumns = kChunkPanels * kPanelColumns;

bool HasLinearChunks(const Device& device, const LinearWeights& weights);
bool HasFeedForwardChunks(const Device& device,
                          const LinearWeights& gate_up,
                          const LinearWeights& down);

// The columns go to the outputs in order. REQUIRES: HasLinearChunks; all outputs but the last have
// multiples of kChunkColumns.
void LinearChunkCpu(Device& device,
                    const ChunkInput& input,
                    const LinearWeights& weights,
                    std::span<const ChunkOutput> outputs);

// down(silu(gate) * up). REQUIRES: HasFeedForwardChunks.
void FeedForwardChunkCpu(Device& device,
                         const ChunkInput& input,
                         const LinearWeights& gate_up,
                         const LinearWeights& down,
                         const ChunkOutput& output);

}  // namespace keyhole
