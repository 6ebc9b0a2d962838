// Tile registers of AMX: eight of up to 16 rows of 64 bytes, and products of two that are added to
// a third. Tile numbers are literals. They belong to the thread, between Configure and Release.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace keyhole {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 1024;

// As the instruction LDTILECFG reads it.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void Set(int tile, int n_rows, int n_bytes) {
    rows[tile] = static_cast<uint8_t>(n_rows);
    row_bytes[tile] = static_cast<uint16_t>(n_bytes);
  }
};
static_assert(sizeof(TileConfig) == 64);

// Clears all tiles.
inline void ConfigureTiles(const TileConfig& config) {
  asm volatile("ldtilecfg %0" : : "m"(config));
}
inline void ReleaseTiles() { asm volatile("tilerelease"); }

}  // namespace
}  // namespace keyhole

// The compiler's own names leave out that tiles are read from and written to memory.
#define KEYHOLE_TILE_MEMORY "memory"
#define KEYHOLE_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile : :)
#define KEYHOLE_TILE_LOAD(tile, at, stride)        \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile  \
               :                                   \
               : "r"(at), "r"((ptrdiff_t)(stride)) \
               : KEYHOLE_TILE_MEMORY)
#define KEYHOLE_TILE_STORE(tile, at, stride)          \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" \
               :                                      \
               : "r"(at), "r"((ptrdiff_t)(stride))    \
               : KEYHOLE_TILE_MEMORY)
// sum [i][j] += a [i][2k ...] . b [k][2j ...], bf16 in f32
#define KEYHOLE_TILE_MULTIPLY_BF16(sum, a, b) \
  asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)
