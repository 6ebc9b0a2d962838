// Rows of a tile that a block of lanes attends to: kernels for many queries leave out groups whose
// rows weigh next to nothing, as most do that are not near. What they leave out in all is bounded:
// however many rows there are, the sum of those that weigh little one by one may be much. Part of
// files for one instruction set.
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

// Of the weights of all rows of a lane at most this share is left out.
constexpr float kLeftOut = 1.0F / 256;

// Groups of a tile's rows, ascending.
struct RowGroups {
  int n = 0;
  uint8_t at[kMostGroups];

  int first_row(int k) const { return at[k] * kRowGroup; }
};

// `Isa` gives All(I), whether no lane of a mask is zero.
template <class Isa, int kVectors>
struct GroupChoice {
  using M = VectorMath<Isa>;
  using V = typename M::V;
  using I = typename M::I;

  int n_groups;
  V tops[kVectors][kMostGroups];  // the largest score of each group's rows
  V scale[kVectors];              // of the scores
  V bias[kVectors];
  bool all;  // where some key or value is no number: any weight shows it

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

  // At least 2^x, and up to 7% more: the exponent and the fraction of a float side by side. Not
  // below 2^-126, and 2^100 where x is no number.
  static inline V PowerAbove(V x) {
    const V high = M::Set(100);
    const V low = M::Set(-126);
    x = x < high ? x : high;
    x = x > low ? x : low;
    const V bits = (x + M::Set(127)) * M::Set(1 << 23);
    return reinterpret_cast<V>(__builtin_convertvector(bits, I));
  }

  // Those of which some row matters to some lane, of the lanes from `lane` on. What is no number
  // matters.
  RowGroups Choose(const AttendState& s, int lane) const {
    constexpr float kLog2Group = 3;
    static_assert(kRowGroup == 8);
    V may_go[kVectors];  // besides what has gone
    for (int v = 0; v < kVectors; ++v) {
      const int at = lane + v * Isa::kWidth;
      may_go[v] = M::Load(s.sum + at) * M::Set(kLeftOut) - M::Load(s.left_out + at);
    }
    RowGroups groups;
    for (int g = 0; g < n_groups; ++g) {
      V most[kVectors];  // that the group weighs
      I negligible = I{} == I{};
      for (int v = 0; v < kVectors; ++v) {
        const V top = Isa::MulAdd(tops[v][g], scale[v], bias[v]);
        const V old_max = M::Load(s.max + lane + v * Isa::kWidth);
        most[v] = PowerAbove(top - old_max + M::Set(kLog2Group));
        negligible &= most[v] <= may_go[v];
      }
      if (!all && Isa::All(negligible)) {
        for (int v = 0; v < kVectors; ++v) may_go[v] -= most[v];
      } else {
        groups.at[groups.n++] = static_cast<uint8_t>(g);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      const int at = lane + v * Isa::kWidth;
      M::Store(s.left_out + at, M::Load(s.sum + at) * M::Set(kLeftOut) - may_go[v]);
    }
    return groups;
  }
};

}  // namespace
}  // namespace keyhole
