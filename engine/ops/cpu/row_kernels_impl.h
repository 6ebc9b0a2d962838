// Bodies of the row kernels for any vector width. Included once by each file that names an
// instruction set; in an unnamed namespace and without library functions, so that no code for one
// instruction set is linked into another's.
//
// A value's result does not depend on where in a row it stands: the last values of a row go through
// the same vector arithmetic as the others.
#pragma once

#include "engine/ops/cpu/row_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

template <class Isa>
struct RowKernelsImpl {
  using M = VectorMath<Isa>;
  using V = typename Isa::V;
  using I = typename Isa::I;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int kLanes = 16;  // partial sums of a row, for every width

  // The first `n` < kWidth values at `p`, zeros after them.
  static V LoadPart(const float* p, int64_t n) {
    float part[kWidth] = {};
    for (int64_t i = 0; i < n; ++i) part[i] = p[i];
    return M::Load(part);
  }

  static void StorePart(float* p, V v, int64_t n) {
    float part[kWidth];
    M::Store(part, v);
    for (int64_t i = 0; i < n; ++i) p[i] = part[i];
  }

  static float SumOfSquares(const float* x, int64_t n) {
    V sums[kLanes / kWidth] = {};
    for (int64_t k = 0; k < n; k += kWidth) {
      const V v = k + kWidth <= n ? M::Load(x + k) : LoadPart(x + k, n - k);
      V& sum = sums[k / kWidth % (kLanes / kWidth)];
      sum = Isa::MulAdd(v, v, sum);
    }
    float lanes[kLanes];
    __builtin_memcpy(lanes, sums, sizeof(lanes));
    for (int width = kLanes / 2; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    }
    return lanes[0];
  }

  static void RmsNorm(const RmsNormTask& t) {
    for (int64_t row = 0; row < t.n_rows; ++row) {
      const float* x = t.x + row * t.n;
      float* out = t.out + row * t.n;
      const double mean = static_cast<double>(SumOfSquares(x, t.n)) / static_cast<double>(t.n);
      const V scale = M::Set(static_cast<float>(1 / __builtin_sqrt(mean + t.eps)));
      int64_t k = 0;
      for (; k + kWidth <= t.n; k += kWidth) {
        M::Store(out + k, M::Load(x + k) * scale * M::Load(t.weight + k));
      }
      const int64_t left = t.n - k;
      if (left == 0) continue;
      StorePart(out + k, LoadPart(x + k, left) * scale * LoadPart(t.weight + k, left), left);
    }
  }

  static void RotateHead(
      const float* x, const float* cos, const float* sin, int64_t half, float* out) {
    int64_t k = 0;
    for (; k + kWidth <= half; k += kWidth) {
      const V a = M::Load(x + k);
      const V b = M::Load(x + half + k);
      const V c = M::Load(cos + k);
      const V s = M::Load(sin + k);
      M::Store(out + k, a * c - b * s);
      M::Store(out + half + k, b * c + a * s);
    }
    for (; k < half; ++k) {
      const float a = x[k];
      const float b = x[half + k];
      out[k] = a * cos[k] - b * sin[k];
      out[half + k] = b * cos[k] + a * sin[k];
    }
  }

  static void Rope(const RopeTask& t) {
    for (int64_t row = 0; row < t.n_rows; ++row) {
      const int64_t at = t.index[row] * t.half;
      for (int64_t head = row * t.n_heads; head < (row + 1) * t.n_heads; ++head) {
        RotateHead(
            t.x + head * 2 * t.half, t.cos + at, t.sin + at, t.half, t.out + head * 2 * t.half);
      }
    }
  }

  // e^x for x <= 0, relative error below 2e-7 down to e^-87 and constant from there on.
  static V Exp(V x) {
    constexpr float kLn2High =
        0.693359375F;  // exact in few bits: times an integer below 2^8 it stays exact
    constexpr float kLn2Low = -2.12194440e-4F;
    x = M::Max(x, M::Set(-87));
    const V shifted = x * M::Set(1.44269504F) + M::Set(kRound);
    const V n = shifted - M::Set(kRound);
    const V r = (x - n * M::Set(kLn2High)) - n * M::Set(kLn2Low);
    V p = M::Set(1.0F / 5040);
    p = Isa::MulAdd(p, r, M::Set(1.0F / 720));
    p = Isa::MulAdd(p, r, M::Set(1.0F / 120));
    p = Isa::MulAdd(p, r, M::Set(1.0F / 24));
    p = Isa::MulAdd(p, r, M::Set(1.0F / 6));
    p = Isa::MulAdd(p, r, M::Set(0.5F));
    p = Isa::MulAdd(p, r, M::Set(1));
    p = Isa::MulAdd(p, r, M::Set(1));
    const I exponent = reinterpret_cast<I>(shifted) - reinterpret_cast<I>(M::Set(kRound));
    return reinterpret_cast<V>(reinterpret_cast<I>(p) + (exponent << 23));
  }

  // The exponential never overflows: both branches of the sigmoid are written with e^-|g|.
  static V Silu(V g) {
    const V e = Exp(g > M::Set(0) ? -g : g);
    return g * ((g > M::Set(0) ? M::Set(1) : e) / (M::Set(1) + e));
  }

  static void SiluMul(const SiluMulTask& t) {
    for (int64_t row = 0; row < t.n_rows; ++row) {
      const float* gate = t.gate_up + row * 2 * t.n;
      const float* up = gate + t.n;
      float* out = t.out + row * t.n;
      int64_t k = 0;
      for (; k + kWidth <= t.n; k += kWidth)
        M::Store(out + k, Silu(M::Load(gate + k)) * M::Load(up + k));
      const int64_t left = t.n - k;
      if (left > 0)
        StorePart(out + k, Silu(LoadPart(gate + k, left)) * LoadPart(up + k, left), left);
    }
  }

  static void Add(const AddTask& t) {
    int64_t k = 0;
    for (; k + kWidth <= t.n; k += kWidth) M::Store(t.x + k, M::Load(t.x + k) + M::Load(t.y + k));
    for (; k < t.n; ++k) t.x[k] += t.y[k];
  }

  static RowKernels Set() { return {RmsNorm, Rope, SiluMul, Add}; }
};

}  // namespace
}  // namespace keyhole
