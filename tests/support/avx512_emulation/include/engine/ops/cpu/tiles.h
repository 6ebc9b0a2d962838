// Stands for engine/ops/cpu/tiles.h where the machine has no AMX: tiles are memory of the thread.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace keyhole {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 1024;

struct TileConfig {
  int rows[8] = {};
  int row_bytes[8] = {};

  void Set(int tile, int n_rows, int n_bytes) {
    rows[tile] = n_rows;
    row_bytes[tile] = n_bytes;
  }
};

// The state of one thread. What the processor would refuse, a use without a configuration or a
// product of tiles that do not fit, traps.
class EmulatedTiles {
 public:
  void Configure(const TileConfig& config) {
    config_ = config;
    configured_ = true;
    memset(data_, 0xA5, sizeof(data_));
  }
  void Release() { configured_ = false; }

  void Zero(int tile) {
    Check();
    memset(data_[tile], 0, kTileBytes);
  }
  void Load(int tile, const void* at, ptrdiff_t stride) {
    Check();
    Zero(tile);
    for (int r = 0; r < config_.rows[tile]; ++r) {
      memcpy(
          data_[tile] + 64 * r, static_cast<const char*>(at) + r * stride, config_.row_bytes[tile]);
    }
  }
  void Store(int tile, void* at, ptrdiff_t stride) {
    Check();
    for (int r = 0; r < config_.rows[tile]; ++r) {
      memcpy(static_cast<char*>(at) + r * stride, data_[tile] + 64 * r, config_.row_bytes[tile]);
    }
  }
  void MultiplyBf16(int sum, int a, int b) {
    Check();
    const bool fit = config_.rows[sum] == config_.rows[a] &&
                     config_.row_bytes[sum] == config_.row_bytes[b] &&
                     config_.row_bytes[a] == 4 * config_.rows[b];
    if (!fit) __builtin_trap();
    for (int i = 0; i < config_.rows[sum]; ++i) {
      for (int j = 0; j < config_.row_bytes[sum] / 4; ++j) {
        float total = Float(data_[sum] + 64 * i + 4 * j);
        for (int k = 0; k < config_.row_bytes[a] / 2; ++k) {
          total +=
              Bf16(data_[a] + 64 * i + 2 * k) * Bf16(data_[b] + 64 * (k / 2) + 4 * j + 2 * (k % 2));
        }
        memcpy(data_[sum] + 64 * i + 4 * j, &total, sizeof(total));
      }
    }
  }

 private:
  void Check() const {
    if (!configured_) __builtin_trap();
  }
  static float Float(const char* at) {
    float value;
    memcpy(&value, at, sizeof(value));
    return value;
  }
  static float Bf16(const char* at) {
    uint16_t half;
    memcpy(&half, at, sizeof(half));
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
  }

  bool configured_ = false;
  TileConfig config_;
  alignas(64) char data_[8][kTileBytes];
};

inline thread_local EmulatedTiles tiles;

inline void ConfigureTiles(const TileConfig& config) { tiles.Configure(config); }
inline void ReleaseTiles() { tiles.Release(); }

}  // namespace
}  // namespace keyhole

#define KEYHOLE_TILE_ZERO(tile) tiles.Zero(tile)
#define KEYHOLE_TILE_LOAD(tile, at, stride) tiles.Load(tile, at, stride)
#define KEYHOLE_TILE_STORE(tile, at, stride) tiles.Store(tile, at, stride)
#define KEYHOLE_TILE_MULTIPLY_BF16(sum, a, b) tiles.MultiplyBf16(sum, a, b)
