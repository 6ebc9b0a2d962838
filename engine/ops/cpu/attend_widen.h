// A head of KV rows as f32. Part of attend_kernels_impl.h: no library function is called.
#pragma once

#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

// What the codes of one head of a row are multiplied by.
template <class Element>
inline float ScaleOf(const Element* head, int head_dim) {
  float scale = 1;
  if constexpr (kHasScale<Element>) __builtin_memcpy(&scale, head + head_dim, sizeof(scale));
  return scale;
}

template <class Isa>
struct AttendWiden {
  using M = VectorMath<Isa>;
  static constexpr int kWidth = Isa::kWidth;

  // t.rows = the head's elements of each row in f32, zeros behind head_dim and in rows up to
  // padded_rows.
  template <class Element>
  static void Widen(const AttendTile& t, const unsigned char* const* from, int padded_rows) {
    for (int j = 0; j < t.n_rows; ++j) {
      const Element* in = reinterpret_cast<const Element*>(from[j] + t.head_offset);
      float* out = t.rows + j * t.padded_dim;
      const float scale = ScaleOf(in, t.head_dim);
      int c = 0;
      for (; c + kWidth <= t.head_dim; c += kWidth) {
        M::Store(out + c, M::Load(in + c) * M::Set(scale));
      }
      for (; c < t.head_dim; ++c) out[c] = M::Scalar(in[c]) * scale;
      for (; c < t.padded_dim; ++c) out[c] = 0;
    }
    for (int i = t.n_rows * t.padded_dim; i < padded_rows * t.padded_dim; ++i) t.rows[i] = 0;
  }
};

}  // namespace
}  // namespace keyhole
