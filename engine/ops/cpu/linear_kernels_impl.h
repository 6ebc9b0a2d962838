// Bodies of the kernels of Linear for any vector width. Included once by each file that names an
// instruction set: `Isa` gives the width, fused multiply-add, f16 loads and the integer products of
// a block. Everything is in an unnamed namespace and no library function is called, so that no code
// for one instruction set is linked into another's.
#pragma once

#include "engine/ops/cpu/linear_inputs_impl.h"
#include "engine/ops/cpu/linear_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

template <class Isa>
struct LinearKernelsImpl {
  using M = VectorMath<Isa>;
  using Inputs = LinearInputsImpl<Isa>;
  using V = typename Isa::V;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int kVectors = kPanelColumns / kWidth;  // vectors of a panel

  static V LoadScale(const unsigned char* p, bool half, int i) {
    return half ? Isa::LoadHalf(reinterpret_cast<const uint16_t*>(p) + i)
                : M::Load(reinterpret_cast<const float*>(p) + i);
  }

  template <int kPanels, int kRows>
  static inline __attribute__((always_inline)) void Clear(V (*sums)[kRows][kVectors]) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[p][r][v] = M::Set(0);
      }
    }
  }

  // Adds the bias and stores the rows of a panel, all columns of it or those there are.
  template <int kRows>
  static inline __attribute__((always_inline)) void StorePanel(const LinearPanels& w,
                                                               int64_t panel,
                                                               V (*sums)[kVectors],
                                                               const LinearOutput& out) {
    const int64_t column = panel * kPanelColumns;
    if (w.bias != nullptr) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const V bias = M::Load(w.bias + column + v * kWidth);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) sums[r][v] += bias;
      }
    }
    const bool whole = w.n_columns - column >= kPanelColumns;
    float last[kRows * kPanelColumns];
    float* to = whole ? out.data + column : last;
    const ptrdiff_t stride = whole ? out.stride : kPanelColumns;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) M::Store(to + r * stride + v * kWidth, sums[r][v]);
    }
    if (whole) return;
    for (int r = 0; r < kRows; ++r) {
      for (int64_t i = column; i < w.n_columns; ++i) {
        out.data[r * out.stride + i] = last[r * kPanelColumns + i - column];
      }
    }
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
    V sums[kPanels][kRows][kVectors];
    Clear<kPanels, kRows>(sums);
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
        for (int l = 0; l < kLanes; ++l) {
          V& sum = sums[l / kVectors][r][l % kVectors];
          sum = Isa::MulAdd(weights[l], xr, sum);
        }
      }
    }
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) StorePanel<kRows>(w, panel + p, sums[p], out);
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

  // Few rows leave no time to wait for memory, and a panel ends before the processor's own
  // prefetching has caught on: so the next panels are asked for while these are read.
  static inline __attribute__((always_inline)) void Prefetch(const unsigned char* p, int bytes) {
#pragma GCC unroll 8
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 2);
  }

  // What a block of a panel adds to the sums of rows kFirst and up. A few rows at a time, so that
  // the block's codes and all sums stay in registers beside the integer sums of these.
  template <int kBits, bool kOffsets, int kRows, int kFirst = 0>
  static inline __attribute__((always_inline)) void AddBlock(const unsigned char* codes,
                                                             const LinearInput& x,
                                                             const V* scale,
                                                             const V* offset,
                                                             V (*sums)[kVectors]) {
    constexpr int kNow = kRows - kFirst < Isa::kRowsAtOnce ? kRows - kFirst : Isa::kRowsAtOnce;
    V products[kNow][kVectors];
    Isa::template DotBlock<kBits, kNow>(
        codes, x.codes + kFirst * kBlockWords, x.start + kFirst, products);
#pragma GCC unroll 16
    for (int r = 0; r < kNow; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        V& sum = sums[kFirst + r][v];
        sum = Isa::MulAdd(products[r][v], scale[v] * M::Set(x.scales[kFirst + r]), sum);
        if (kOffsets) sum = Isa::MulAdd(offset[v], M::Set(x.scales[kRows + kFirst + r]), sum);
      }
    }
    if constexpr (kFirst + kNow < kRows) {
      AddBlock<kBits, kOffsets, kRows, kFirst + kNow>(codes, x, scale, offset, sums);
    }
  }

  template <int kBits, bool kOffsets, int kRows, int kPanels>
  static void Int8Panels(const LinearPanels& w,
                         const LinearInput& in,
                         const LinearOutput& out,
                         int64_t panel) {
    constexpr ptrdiff_t kCodeBytes = kBlock * kPanelColumns * kBits / 8;
    const ptrdiff_t values = w.half_scales ? kPanelColumns * 2 : kPanelColumns * 4;
    const ptrdiff_t scale_stride = kOffsets ? 2 * values : values;
    const unsigned char* codes = w.data + panel * w.panel_bytes;
    const unsigned char* scales = codes + w.scales_at;
    constexpr ptrdiff_t kNearCache = 512 << 10;
    const bool prefetch = kPanels * w.panel_bytes <= kNearCache;
    V sums[kPanels][kRows][kVectors];
    Clear<kPanels, kRows>(sums);
    LinearInput x = in;
    for (int64_t b = 0; b < w.n_in / kBlock; ++b) {
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        const unsigned char* scales_p = scales + p * w.panel_bytes;
        if (prefetch) {
          Prefetch(codes + (p + kPanels) * w.panel_bytes, kCodeBytes);
          Prefetch(scales_p + kPanels * w.panel_bytes, 1);
        }
        V scale[kVectors];
        V offset[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          scale[v] = LoadScale(scales_p, w.half_scales, v * kWidth);
          if (kOffsets) offset[v] = LoadScale(scales_p + values, w.half_scales, v * kWidth);
        }
        AddBlock<kBits, kOffsets, kRows>(codes + p * w.panel_bytes, x, scale, offset, sums[p]);
      }
      codes += kCodeBytes;
      scales += scale_stride;
      x.codes += kBlockWords * kRows;
      x.start += kRows;
      x.scales += 2 * kRows;
    }
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) StorePanel<kRows>(w, panel + p, sums[p], out);
  }

  template <int kBits, bool kOffsets, int kRows>
  static void Int8Tile(const LinearPanels& w, const LinearInput& in, const LinearOutput& out) {
    if constexpr (kRows < Isa::kMaxRowsInt8) {
      if (in.n_rows != kRows) return Int8Tile<kBits, kOffsets, kRows + 1>(w, in, out);
    }
    Int8From<kBits, kOffsets, kRows, kRows == 1 ? Isa::kPanelsOneRow : 1>(w, in, out, 0);
  }

  // Panels from `panel` on, kPanels side by side, then the rest in halves.
  template <int kBits, bool kOffsets, int kRows, int kPanels>
  static void Int8From(const LinearPanels& w,
                       const LinearInput& in,
                       const LinearOutput& out,
                       int64_t panel) {
    const int64_t n_panels = (w.n_columns + kPanelColumns - 1) / kPanelColumns;
    for (; panel + kPanels <= n_panels; panel += kPanels) {
      Int8Panels<kBits, kOffsets, kRows, kPanels>(w, in, out, panel);
    }
    if constexpr (kPanels > 1) {
      if (panel < n_panels) Int8From<kBits, kOffsets, kRows, kPanels / 2>(w, in, out, panel);
    }
  }

  template <int kBits>
  static void Int8Of(const LinearPanels& w, const LinearInput& in, const LinearOutput& out) {
    return w.has_offsets ? Int8Tile<kBits, true, 1>(w, in, out)
                         : Int8Tile<kBits, false, 1>(w, in, out);
  }

  static void Int8(const LinearPanels& w, const LinearInput& in, const LinearOutput& out) {
    return w.code_bits == 4 ? Int8Of<4>(w, in, out) : Int8Of<8>(w, in, out);
  }

  static LinearKernels Set() {
    return {Isa::kMaxRows,
            Isa::kMaxRowsInt8,
            FloatTile<float, 1>,
            FloatTile<Bf16, 1>,
            Int8,
            Inputs::Pack,
            Inputs::Quantize,
            nullptr};
  }
};

}  // namespace
}  // namespace keyhole
