// Kernels of Linear, one set per instruction set. Plain C++: see linear_kernels_impl.h.
//
// Weights lie in panels of 16 output columns, so that a vector lane is a column and no lane is
// summed across: every output is one sum over n_in in ascending order, whatever the width of a
// vector and the number of rows.
//   f32, bf16: [n_in][16]
//   int8:      [n_in / 32] blocks of codes, then [n_in / 32] x [16 scales][16 offsets, if any], f16
//   or f32.
//              A block of 8-bit codes is [8][16][4]: four neighbours along n_in per column. Of
//              4-bit codes it is [4][16][4]: the low nibbles hold groups 0-3 of the eight, the high
//              nibbles groups 4-7.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace keyhole {

constexpr int kPanelColumns = 16;
constexpr int kBlock = 32;  // values along n_in that share a scale
constexpr int kBlockWords = kBlock / 4;

struct LinearPanels {
  const unsigned char* data;  // first panel
  ptrdiff_t panel_bytes;
  ptrdiff_t scales_at;  // where in a panel the scales begin
  int64_t n_in;         // int8: a multiple of 32
  int64_t n_columns;    // of all panels together; the last one may be partly filled
  const float* bias;    // [n_columns] and on to the end of the last panel, or null
  int code_bits;        // int8: 4 or 8; bf16: 16; f32: 32
  bool half_scales;
  bool has_offsets;
  int zero;  // value = scale * (code - zero) + offset
};

// Rows of the input, as `pack` or `quantize` of LinearKernels make them.
struct LinearInput {
  int n_rows;
  const float* x;        // f32, bf16: [n_in][n_rows]
  const int32_t* codes;  // int8: [n_in / 32][n_rows][8] words of four signed codes
  const int32_t* start;  // [n_in / 32][n_rows]: -zero * sum of the codes
  const float* scales;   // [n_in / 32][2][n_rows]: scale, scale * sum of the codes
};

struct LinearOutput {
  float* data;
  ptrdiff_t stride;  // between rows
};

using LinearKernel = void (*)(const LinearPanels&, const LinearInput&, const LinearOutput&);

// Tiles whose rows follow one another in the output.
struct LinearTiles {
  const LinearInput* tiles;
  int64_t n_tiles;
};
using LinearTilesKernel = void (*)(const LinearPanels&, const LinearTiles&, const LinearOutput&);

struct PackRows {
  const float* x;  // [n_rows, n_in]
  int64_t n_in;
  int n_rows;
  int zero;        // of the weight's codes
  float* packed;   // `pack`: as LinearInput::x
  int32_t* codes;  // `quantize`: as in LinearInput
  int32_t* start;
  float* scales;
};

struct LinearKernels {
  int max_rows;  // of a tile, f32 and bf16
  int max_rows_int8;
  LinearKernel f32;
  LinearKernel bf16;
  LinearKernel int8;
  void (*pack)(const PackRows&);
  void (*quantize)(const PackRows&);  // pads n_in to a multiple of 32 with zeros
  // Several tiles at once, with the bits of `int8`; null: it would not be faster.
  LinearTilesKernel int8_tiles;
};

LinearKernels LinearKernelsPortable();
LinearKernels LinearKernelsAvx2();
LinearKernels LinearKernelsAvx512();
LinearKernels LinearKernelsAvx512Vnni();

}  // namespace keyhole
