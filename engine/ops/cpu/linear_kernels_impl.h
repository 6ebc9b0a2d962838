// Bodies of the kernels of Linear for any vector width. Included once by each file that names an
// instruction set: `Isa` gives the width, fused multiply-add, f16 loads and the integer products of
// a block. Everything is in an unnamed namespace and no library function is called, so that no code
// for one instruction set is linked into another's.
#pragma once

#include "engine/ops/cpu/linear_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

template <class Isa>
struct LinearKernelsImpl {
  using M = VectorMath<Isa>;
  using V = typename Isa::V;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int kVectors = kPanelColumns / kWidth;  // vectors of a panel
  static constexpr ptrdiff_t kScaleBytes = 2;              // f16

  static V LoadScale(const unsigned char* p, bool half, int i) {
    return half ? Isa::LoadHalf(reinterpret_cast<const uint16_t*>(p) + i)
                : M::Load(reinterpret_cast<const float*>(p) + i);
  }

  // Adds the bias and stores one row's part of a panel.
  static inline __attribute__((always_inline)) void StoreRow(const LinearPanels& w,
                                                             int64_t column,
                                                             const V* sums,
                                                             float* out) {
    const int64_t left = w.n_columns - column;
    float last[kPanelColumns];
    float* to = left >= kPanelColumns ? out + column : last;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) M::Store(to + v * kWidth, sums[v]);
    const int64_t n = left < kPanelColumns ? left : kPanelColumns;
    if (to == last) {
      for (int64_t i = 0; i < n; ++i) out[column + i] = last[i];
    }
    if (w.bias == nullptr) return;
    for (int64_t i = 0; i < n; ++i) out[column + i] += w.bias[column + i];
  }

  // ---- f32 and bf16
  // -------------------------------------------------------------------------------

  template <class Element, int kRows, int kPanels>
  static void FloatPanels(const LinearPanels& w,
                          const LinearInput& in,
                          const LinearOutput& out,
                          int64_t panel) {
    constexpr int kLanes = kPanels * kVectors;
    const Element* from[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      from[p] = reinterpret_cast<const Element*>(w.data + (panel + p) * w.panel_bytes);
    }
    V sums[kRows][kLanes];
    for (auto& row : sums) {
      for (V& v : row) v = M::Set(0);
    }
    const float* x = in.x;
    for (int64_t k = 0; k < w.n_in; ++k, x += kRows) {
      V weights[kLanes];
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l) {
        weights[l] = M::Load(from[l / kVectors] + k * kPanelColumns + l % kVectors * kWidth);
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const V xr = M::Set(x[r]);
#pragma GCC unroll 16
        for (int l = 0; l < kLanes; ++l) sums[r][l] = Isa::MulAdd(weights[l], xr, sums[r][l]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < kPanels; ++p) {
        StoreRow(w, (panel + p) * kPanelColumns, sums[r] + p * kVectors, out.data + r * out.stride);
      }
    }
  }

  template <class Element, int kRows>
  static void FloatTile(const LinearPanels& w, const LinearInput& in, const LinearOutput& out) {
    if constexpr (kRows < Isa::kMaxRows) {
      if (in.n_rows != kRows) return FloatTile<Element, kRows + 1>(w, in, out);
    }
    constexpr int kFit = Isa::kSums / (kRows * kVectors);
    constexpr int kPanels = kFit >= 4 ? 4 : kFit >= 2 ? 2 : 1;
    const int64_t n_panels = (w.n_columns + kPanelColumns - 1) / kPanelColumns;
    int64_t panel = 0;
    for (; panel + kPanels <= n_panels; panel += kPanels) {
      FloatPanels<Element, kRows, kPanels>(w, in, out, panel);
    }
    for (; panel < n_panels; ++panel) FloatPanels<Element, kRows, 1>(w, in, out, panel);
  }

  // ---- int8
  // ---------------------------------------------------------------------------------------

  // A single row leaves no time to wait for memory, and a panel ends before the processor's own
  // prefetching has caught on: so the next panels are asked for while these are read.
  static inline __attribute__((always_inline)) void Prefetch(const unsigned char* p, int bytes) {
#pragma GCC unroll 8
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 2);
  }

  template <int kBits, int kRows, int kPanels>
  static void Int8Panels(const LinearPanels& w,
                         const LinearInput& in,
                         const LinearOutput& out,
                         int64_t panel) {
    constexpr ptrdiff_t kCodeBytes = kBlock * kPanelColumns * kBits / 8;
    const ptrdiff_t values = w.half_scales ? kPanelColumns * 2 : kPanelColumns * 4;
    const ptrdiff_t scale_stride = w.has_offsets ? 2 * values : values;
    const unsigned char* codes = w.data + panel * w.panel_bytes;
    const unsigned char* scales = codes + w.scales_at;
    constexpr ptrdiff_t kNearCache = 512 << 10;
    const bool prefetch = kPanels * w.panel_bytes <= kNearCache;
    V sums[kPanels][kRows][kVectors];
    for (auto& p : sums) {
      for (auto& row : p) {
        for (V& v : row) v = M::Set(0);
      }
    }
    for (int64_t b = 0; b < w.n_in / kBlock; ++b) {
      const int32_t* x = in.codes + b * 8 * kRows;
      const float* x_scales = in.scales + b * 2 * kRows;
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        if (kRows == 1 && prefetch) Prefetch(codes + (p + kPanels) * w.panel_bytes, kCodeBytes);
        V products[kRows][kVectors];
        Isa::template DotBlock<kBits, kRows>(
            codes + p * w.panel_bytes, x, in.start + b * kRows, products);
        const unsigned char* scale = scales + p * w.panel_bytes;
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const V weight_scale = LoadScale(scale, w.half_scales, v * kWidth);
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r) {
            const V both = weight_scale * M::Set(x_scales[r]);
            sums[p][r][v] = Isa::MulAdd(products[r][v], both, sums[p][r][v]);
          }
          if (!w.has_offsets) continue;
          const V offset = LoadScale(scale + values, w.half_scales, v * kWidth);
#pragma GCC unroll 16
          for (int r = 0; r < kRows; ++r) {
            sums[p][r][v] = Isa::MulAdd(offset, M::Set(x_scales[kRows + r]), sums[p][r][v]);
          }
        }
      }
      codes += kCodeBytes;
      scales += scale_stride;
    }
    for (int p = 0; p < kPanels; ++p) {
      for (int r = 0; r < kRows; ++r) {
        StoreRow(w, (panel + p) * kPanelColumns, sums[p][r], out.data + r * out.stride);
      }
    }
  }

  template <int kBits, int kRows>
  static void Int8Tile(const LinearPanels& w, const LinearInput& in, const LinearOutput& out) {
    if constexpr (kRows < Isa::kMaxRowsInt8) {
      if (in.n_rows != kRows) return Int8Tile<kBits, kRows + 1>(w, in, out);
    }
    constexpr int kPanels = kRows == 1 ? Isa::kPanelsOneRow : 1;
    const int64_t n_panels = (w.n_columns + kPanelColumns - 1) / kPanelColumns;
    int64_t panel = 0;
    for (; panel + kPanels <= n_panels; panel += kPanels) {
      Int8Panels<kBits, kRows, kPanels>(w, in, out, panel);
    }
    for (; panel < n_panels; ++panel) Int8Panels<kBits, kRows, 1>(w, in, out, panel);
  }

  static void Int8(const LinearPanels& w, const LinearInput& in, const LinearOutput& out) {
    return w.code_bits == 4 ? Int8Tile<4, 1>(w, in, out) : Int8Tile<8, 1>(w, in, out);
  }

  // ---- inputs
  // -------------------------------------------------------------------------------------

  static void Pack(const PackRows& rows) {
    for (int r = 0; r < rows.n_rows; ++r) {
      const float* x = rows.x + r * rows.n_in;
      float* packed = rows.packed + r;
      for (int64_t k = 0; k < rows.n_in; ++k) packed[k * rows.n_rows] = x[k];
    }
  }

  static float Largest(const float* x) {
    V largest = M::Set(0);
    for (int i = 0; i < kBlock; i += kWidth) {
      const V v = M::Load(x + i);
      largest = M::Max(largest, M::Max(v, -v));
    }
    float result = largest[0];
    for (int i = 1; i < kWidth; ++i) result = largest[i] > result ? largest[i] : result;
    return result;
  }

  // Nearest integers of x * inverse, ties to even, |x * inverse| <= 127. Anything for infinities
  // and NaN: those reach the output through the scale.
  static void Round(const float* x, float inverse, int32_t* out) {
    constexpr float kRound =
        12582912;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    using I = typename M::I;
    for (int i = 0; i < kBlock; i += kWidth) {
      const V shifted = M::Load(x + i) * M::Set(inverse) + M::Set(kRound);
      const I q = reinterpret_cast<I>(shifted) - reinterpret_cast<I>(M::Set(kRound));
      __builtin_memcpy(out + i, &q, sizeof(q));
    }
  }

  static void QuantizeBlock(const float* x, const PackRows& rows, int64_t block, int r) {
    constexpr float kLeast = 1e-30F;  // below, the inverse could overflow
    const float largest = Largest(x);
    const bool zero = largest < kLeast;
    const float scale = zero ? 0 : largest / 127;
    int32_t q[kBlock];
    Round(x, zero ? 0 : 127 / largest, q);
    signed char bytes[kBlock];
    int32_t sum = 0;
    for (int i = 0; i < kBlock; ++i) {
      bytes[i] = static_cast<signed char>(q[i]);
      sum += bytes[i];
    }
    int32_t words[8];
    __builtin_memcpy(words, bytes, sizeof(words));
    const int64_t n = rows.n_rows;
    for (int g = 0; g < 8; ++g) rows.codes[(block * 8 + g) * n + r] = words[g];
    rows.start[block * n + r] = -rows.zero * sum;
    rows.scales[2 * block * n + r] = scale;
    rows.scales[(2 * block + 1) * n + r] = scale * static_cast<float>(sum);
  }

  static void Quantize(const PackRows& rows) {
    const int64_t n_whole = rows.n_in / kBlock;
    const int64_t left = rows.n_in - n_whole * kBlock;
    for (int r = 0; r < rows.n_rows; ++r) {
      const float* x = rows.x + r * rows.n_in;
      for (int64_t b = 0; b < n_whole; ++b) QuantizeBlock(x + b * kBlock, rows, b, r);
      if (left == 0) continue;
      float last[kBlock] = {};
      for (int64_t i = 0; i < left; ++i) last[i] = x[n_whole * kBlock + i];
      QuantizeBlock(last, rows, n_whole, r);
    }
  }

  static LinearKernels Set() {
    return {Isa::kMaxRows,
            Isa::kMaxRowsInt8,
            FloatTile<float, 1>,
            FloatTile<Bf16, 1>,
            Int8,
            Pack,
            Quantize};
  }
};

}  // namespace
}  // namespace keyhole
