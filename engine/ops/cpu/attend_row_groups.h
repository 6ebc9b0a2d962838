// Rows of a tile that a block of lanes attends to: kernels for many queries leave out groups whose
// rows weigh next to nothing, as most do that are not near. Part of files for one instruction set.
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
  float negligible;  // AttendTile's; infinite where some value is no number: any weight shows it

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

  // Below this a score's row does not matter to a lane. The logarithm is up to 0.09 too small: the
  // exponent and the fraction of a float side by side.
  static inline V LeastScore(float negligible, const float* running_max, const float* running_sum) {
    const I bits = M::LoadInt(reinterpret_cast<const int32_t*>(running_sum)) - 0x3f800000;
    const V log = __builtin_convertvector(bits, V) * M::Set(1.0F / (1 << 23));
    return M::Load(running_max) + (log - M::Set(negligible));
  }

  // Those of which some row matters to some lane. What is no number matters.
  RowGroups Choose(const float* running_max, const float* running_sum) const {
    V least[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const int lane = v * Isa::kWidth;
      least[v] = LeastScore(negligible, running_max + lane, running_sum + lane);
    }
    RowGroups groups;
    for (int g = 0; g < n_groups; ++g) {
      I negligible_to = Isa::MulAdd(tops[0][g], scale[0], bias[0]) < least[0];
      for (int v = 1; v < kVectors; ++v) {
        negligible_to &= Isa::MulAdd(tops[v][g], scale[v], bias[v]) < least[v];
      }
      groups.at[groups.n] = static_cast<uint8_t>(g);
      groups.n += Isa::All(negligible_to) ? 0 : 1;
    }
    return groups;
  }
};

}  // namespace
}  // namespace keyhole
