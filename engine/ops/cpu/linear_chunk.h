// Linear for the rows of a chunk, by tile products of bf16. Plain C++, as linear_kernels.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/linear_kernels.h"

namespace keyhole {

constexpr int kChunkTileRows = 16;
constexpr int kMostChunkRows = 512;  // of a part

// Rows of an input in bf16, as tiles [tile][n_in / 32][16][32]; rows that fill a tile are zeros.
struct LinearChunk {
  int64_t n_rows;
  uint16_t* x;

  static int64_t Elements(int64_t n_rows, int64_t n_in) {
    const int64_t tiles = (n_rows + kChunkTileRows - 1) / kChunkTileRows;
    const int64_t blocks = (n_in + kBlock - 1) / kBlock;
    return tiles * kChunkTileRows * blocks * kBlock;
  }
};

// What becomes a chunk: rows x [n_rows, n_in], root-mean-square normalised where there is a weight.
struct LinearChunkSource {
  const float* x;
  int64_t n_in;
  const float* norm_weight;  // [n_in], or null
  double eps;
};

struct LinearChunkOutput {
  float* data;
  ptrdiff_t stride;  // between rows
  bool add;          // to what is there
};

// Two panels of a product are multiplied side by side. Of a plain product these are neighbours; of
// one that ends in silu(gate) * up, a panel of gate and the one of up that belongs to it.
constexpr int kChunkPanels = 2;

// What one task multiplies.
struct LinearChunkPart {
  int64_t first_row;  // a multiple of two tiles
  int64_t last_row;   // at most kMostChunkRows on
  int64_t first_pair;
  int64_t last_pair;
};

struct LinearChunkKernels {
  // One tile; n_in is padded with zeros to a multiple of 32.
  void (*pack)(const LinearChunkSource& source, int64_t tile, const LinearChunk& packed);

  // int8 or bf16 panels times rows. Weights are rounded to bf16, sums are f32 in ascending order of
  // n_in.
  void (*multiply)(const LinearPanels& panels,
                   const LinearChunk& chunk,
                   const LinearChunkPart& part,
                   const LinearChunkOutput& out);

  // The first half of the panels are gate's, the others up's: writes silu(gate) * up as the input
  // of another product. REQUIRES: gate's columns are a multiple of 32.
  void (*multiply_silu)(const LinearPanels& panels,
                        const LinearChunk& chunk,
                        const LinearChunkPart& part,
                        const LinearChunk& out);
};

LinearChunkKernels LinearChunkKernelsAmx();

}  // namespace keyhole
