// The inner loops of AttendRows: one tile of rows against the queries of one KV head.
// Plain pointers only: this header is also compiled for instruction sets that the machine may lack.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace keyhole {

constexpr int32_t kAttendTileRows = 64;   // of a tile, at most, but for `many_rows`
constexpr int32_t kAttendMostRows = 256;  // of any tile
constexpr int32_t kLeastScoreLanes = 32;  // that `many` may have scores of at a time

// The running softmax of some lanes (a lane is one query head of one query), in powers of two:
// result = acc / sum. Starts as max = -infinity, sum = 0, acc = 0.
struct AttendState {
  float* max;  // [lanes]
  float* sum;  // [lanes]
  float* acc;  // [lanes, padded_dim]
};

struct AttendTile {
  const unsigned char* const* keys;       // [n_rows], where a row's keys begin
  const unsigned char* const* values;     // [n_rows]
  const unsigned char* const* next_keys;  // [n_next], of rows that are read next: few lanes fetch
                                          // as many of them into the cache as the tile has rows,
                                          // many all of them, or none
  const unsigned char* const* next_values;
  size_t head_offset;  // of the KV head behind these pointers, in bytes
  int32_t n_rows;      // at most kAttendTileRows, or many_rows
  int32_t n_next;
  int32_t head_bytes;  // of one row
  int32_t head_dim;
  int32_t padded_dim;  // of `rows` and `acc`; a multiple of 16, as is padded_lanes
  int32_t n_kv_heads;  // `one` only: of its lanes, [n_kv_heads][group]
  int32_t lanes;
  int32_t padded_lanes;    // not of `few`
  const float* queries;    // scaled; `few`: [lanes, padded_dim], else what pack_queries makes, and
                           // where it is null [padded_dim, padded_lanes]
  const float* bias;       // [lanes], in powers of two
  const int32_t* visible;  // [padded_lanes], rows of the tile that a lane sees; null: all
  float* rows;             // scratch [kAttendMostRows, head_dim padded to 32]
  float* scores;  // scratch [kAttendMostRows, lanes padded to 16, and kLeastScoreLanes at least]
  float* correction;  // scratch [padded_lanes]
};

using AttendTileFn = void (*)(const AttendTile& tile, const AttendState& state);

// Sizes of heads that `one` of AttendKernels takes.
constexpr bool FitsOne(int32_t head_dim, int32_t group) {
  return (head_dim == 64 || head_dim == 128 || head_dim == 256) && group <= 16;
}

struct AttendKernels {
  AttendTileFn few;   // vectors run along head_dim; for one query
  AttendTileFn many;  // vectors run along the lanes; `state` has room for padded_lanes
  int32_t many_rows = kAttendTileRows;  // of a tile of `many`, at most
  AttendTileFn one = nullptr;  // null, or what is faster than `few` for all KV heads in turn
  // Null, or makes of rows [padded_lanes, head_dim] the queries that `many` and `one` take.
  void (*pack_queries)(const float* rows, float* queries, int head_dim, int padded_lanes) = nullptr;
  // Null, or makes the sums of `many` what AttendState says, with as much scratch, when no tile is
  // left.
  void (*unpack_sums)(float* acc, float* scratch, int padded_dim, int padded_lanes) = nullptr;
};

struct AttendKernelSet {
  AttendKernels f32;
  AttendKernels bf16;
  AttendKernels int8;
  int32_t tile_lanes = 192;     // that `many` takes at a time, about
  int32_t deep_tile_lanes = 0;  // where rows are many beside the queries; 0: the same
};

AttendKernelSet AttendKernelsPortable();
AttendKernelSet AttendKernelsAvx2();
AttendKernelSet AttendKernelsAvx512();
AttendKernelSet AttendKernelsAvx512Bf16();
AttendKernelSet AttendKernelsAmx();

}  // namespace keyhole
