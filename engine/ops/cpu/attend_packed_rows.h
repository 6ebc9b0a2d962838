// A tile's rows as products of int8 and of bf16 pairs take them. Part of attend_avx512bf16.cc.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/attend_bf16_rows.h"
#include "engine/ops/cpu/attend_int8_scores.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_row_groups.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/bf16_math.h"

namespace keyhole {
namespace {

struct PackedRows {
  int padded_rows;            // to kRowGroup
  int key_bytes;              // of a row
  const unsigned char* keys;  // [padded_rows][key_bytes], codes
  const float* values;        // [padded_rows / 2][padded_dim], pairs of two rows' values
  float key_scales[kManyRows];
  bool finite;
};

template <class Element>
void PackRows(const AttendTile& t, PackedRows& rows) {
  rows.padded_rows = (t.n_rows + kRowGroup - 1) / kRowGroup * kRowGroup;
  rows.key_bytes = (t.head_dim + 63) / 64 * 64;
  auto* keys = reinterpret_cast<unsigned char*>(t.rows);
  float* values = t.rows + static_cast<ptrdiff_t>(rows.padded_rows) * rows.key_bytes / 4;
  rows.keys = keys;
  rows.values = values;
  rows.finite = true;
  // Rows that are not there are the last one, with weights of zero.
  const auto head_of = [&t](const unsigned char* const* from, int j) {
    return reinterpret_cast<const Element*>(from[j < t.n_rows ? j : t.n_rows - 1] + t.head_offset);
  };
  for (int j = 0; j < rows.padded_rows; ++j, keys += rows.key_bytes) {
    const float scale = KeyCodes(head_of(t.keys, j), t.head_dim, keys);
    const bool finite = scale < __builtin_inff();
    rows.key_scales[j] = finite ? scale : __builtin_nanf("");
    rows.finite = rows.finite && finite;
  }
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __mmask32 no_number = 0;
  for (int j = 0; j < rows.padded_rows; j += 2, values += t.padded_dim) {
    const Element* low = head_of(t.values, j);
    const Element* high = head_of(t.values, j + 1);
    const float low_scale = ScaleOf(low, t.head_dim);
    const float high_scale = ScaleOf(high, t.head_dim);
    for (int c = 0; c < t.padded_dim; c += kVectorLanes) {
      const auto mask = static_cast<__mmask16>(FirstOnes(t.head_dim - c));
      const __m512i pairs =
          Pair(LoadBf16(low + c, mask, low_scale), LoadBf16(high + c, mask, high_scale));
      no_number |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(pairs, exponent), exponent);
      _mm512_storeu_si512(values + c, pairs);
    }
  }
  rows.finite = rows.finite && no_number == 0;
}

}  // namespace
}  // namespace keyhole
