// Rows of a tile that weigh little to a block of lanes, as most do that are not near: kernels for
// many queries attend to eight of them as to one, whose value is the mean of theirs and whose
// weight the sum. However many there are, they count. Part of files for one instruction set.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

constexpr int kManyRows = 128;  // of an AttendTile
constexpr int kRowGroup = 8;
constexpr int kMostGroups = kManyRows / kRowGroup;
constexpr int kMostMeans = (kMostGroups + kRowGroup - 1) / kRowGroup * kRowGroup;

// Of all that a lane has seen a light group weighs at most this share, even if all its rows weigh
// what the heaviest does.
constexpr float kLightShare = 1.0F / 64;

// Rows of a tile, padded to a group, and behind them one for each group, the mean of its rows.
struct TileRows {
  explicit TileRows(int n_rows)
      : n_groups((n_rows + kRowGroup - 1) / kRowGroup),
        n(n_groups * kRowGroup),
        n_means((n_groups + kRowGroup - 1) / kRowGroup * kRowGroup) {}

  int with_means() const { return n + n_means; }

  int n_groups;
  int n;
  int n_means;
};

// Row j of `from`, a tile's keys or values. Rows that are not there are the last one, with weights
// of zero.
template <class Element>
const Element* HeadOf(const AttendTile& t, const unsigned char* const* from, int j) {
  return reinterpret_cast<const Element*>(from[j < t.n_rows ? j : t.n_rows - 1] + t.head_offset);
}

// Groups of such rows, ascending.
struct RowGroups {
  int n = 0;
  uint8_t at[kMostGroups + kMostMeans / kRowGroup];

  int first_row(int k) const { return at[k] * kRowGroup; }
};

// `Isa` gives All(I), whether no lane of a mask is zero.
template <class Isa, int kVectors>
struct GroupChoice {
  using M = VectorMath<Isa>;
  using V = typename M::V;
  using I = typename M::I;

  int n_groups;  // without those of means
  // The largest score of each group's rows.
  V tops[kVectors][kMostGroups + kMostMeans / kRowGroup];
  V scale[kVectors];  // of the scores
  V bias[kVectors];
  bool may_leave;  // rows of a group: all lanes see all of them, and all in them are numbers

  // Scores [rows][row_step] of the lanes from `lane` on become minus infinity where a lane does not
  // see a row, and in rows that are not there; `tops` follow.
  void MaskScores(const AttendTile& t, int lane, float* scores, int row_step) {
    if (t.visible == nullptr && t.n_rows == n_groups * kRowGroup) return;
    const V unseen = M::Set(-__builtin_inff());
    for (int v = 0; v < kVectors; ++v, lane += Isa::kWidth, scores += Isa::kWidth) {
      const I visible = t.visible == nullptr ? t.n_rows + I{} : M::LoadInt(t.visible + lane);
      for (int g = 0; g < n_groups; ++g) {
        V top = unseen;
        for (int j = g * kRowGroup; j < (g + 1) * kRowGroup; ++j) {
          float* at = scores + static_cast<ptrdiff_t>(j) * row_step;
          const V score = visible > j ? M::Load(at) : unseen;
          M::Store(at, score);
          top = M::Max(top, score);
        }
        tops[v][g] = top;
      }
    }
  }

  // Those that a block's lanes attend to, of the lanes from `lane` on; instead of light ones their
  // means, whose scores go behind the others. What is no number is not light.
  RowGroups Choose(const AttendState& s, int lane, float* scores, int row_step) {
    RowGroups groups;
    uint32_t light = 0;
    for (int g = 0; g < n_groups; ++g) {
      if (may_leave && IsLight(s, lane, g)) {
        light |= 1U << g;
      } else {
        groups.at[groups.n++] = static_cast<uint8_t>(g);
      }
    }
    for (int m = 0; light >> (m * kRowGroup) != 0; ++m) {
      const uint32_t some = light >> (m * kRowGroup) & ((1U << kRowGroup) - 1);
      if (some == 0) continue;
      for (int v = 0; v < kVectors; ++v) {
        const int at = v * Isa::kWidth;
        ScoreMeans(m, some, v, M::Load(s.max + lane + at), scores + at, row_step);
      }
      groups.at[groups.n++] = static_cast<uint8_t>(n_groups + m);
    }
    return groups;
  }

 private:
  bool IsLight(const AttendState& s, int lane, int g) const {
    I light = I{} == I{};
    for (int v = 0; v < kVectors; ++v, lane += Isa::kWidth) {
      const V top = Isa::MulAdd(tops[v][g], scale[v], bias[v]);
      // Not of what is no number, nor of what is far above all before.
      const V x = top - M::Load(s.max + lane);
      const V most = PowerOfBits((x + M::Set(kExponentOfOne)) * M::Set(kOne)) * M::Set(kRowGroup);
      light &= (x < M::Set(0)) & (most <= M::Load(s.sum + lane) * M::Set(kLightShare));
    }
    return Isa::All(light);
  }

  // Scores of the means of groups 8 m to 8 m + 7: minus infinity but for `some`.
  void ScoreMeans(int m, uint32_t some, int v, V running_max, float* scores, int row_step) {
    const auto row = [&](int j) { return scores + static_cast<ptrdiff_t>(j) * row_step; };
    const int group = n_groups + m;
    const V shift = bias[v] - running_max;
    const V per_scale = M::Set(1) / scale[v];
    const V scale_bits = scale[v] * M::Set(kOne);
    const V shift_bits = (shift + M::Set(kExponentOfOne)) * M::Set(kOne);
    V& top = tops[v][group];
    top = M::Set(-__builtin_inff());
    for (int i = 0; i < kRowGroup; ++i) {
      V score = M::Set(-__builtin_inff());
      if ((some >> i & 1) != 0) {
        const float* at = row((m * kRowGroup + i) * kRowGroup);
        V sum = V{};
#pragma GCC unroll 8
        for (int j = 0; j < kRowGroup; ++j, at += row_step) {
          sum += PowerOfBits(Isa::MulAdd(M::Load(at), scale_bits, shift_bits));
        }
        score = (LogOf(sum) - shift) * per_scale;
      }
      M::Store(row(group * kRowGroup + i), score);
      top = M::Max(top, score);
    }
  }

  // A float's exponent and fraction side by side are nearly its logarithm: up to 0.09 below it.
  static constexpr float kOne = 1 << 23;
  static constexpr float kExponentOfOne = 127;

  // 2^x or up to 7% more, of (x + kExponentOfOne) * kOne; at least 2^-126.
  static inline V PowerOfBits(V bits) {
    const V least = M::Set(kOne);
    return reinterpret_cast<V>(__builtin_convertvector(bits > least ? bits : least, I));
  }

  // Its inverse.
  static inline V LogOf(V x) {
    return __builtin_convertvector(reinterpret_cast<I>(x), V) * M::Set(1 / kOne) -
           M::Set(kExponentOfOne);
  }
};

}  // namespace
}  // namespace keyhole
